/** Draws a scene on a canvas: input and result beside the divider, and the loupe. */

import { clamp, visible } from "./geometry.js";

const CHECK = 8; // side of a square behind transparency
const LOUPE_SIDE = 168;
const LOUPE_TIMES = 3; // of the zoom around it
const LOUPE_LEAST_ZOOM = 3;
const LOUPE_AWAY = 28; // from the point it shows, so that finger and loupe do not meet

/** @param {CanvasRenderingContext2D} context @param {Scene} scene */
export function paint(context, scene) {
  const { view, picture, dividerX } = scene;
  context.clearRect(0, 0, view.width, view.height);
  const seen = visible(view, picture);
  const right = scene.after ? clamp(dividerX, seen.left, seen.left + seen.width) : view.width;
  within(context, [0, 0, right, view.height], () => drawBefore(context, scene, picture));
  within(context, [right, 0, view.width - right, view.height], () => drawAfter(context, scene, picture));
}

/** @param {CanvasRenderingContext2D} context over everything else @param {Scene} scene */
export function paintLoupe(context, scene) {
  context.clearRect(0, 0, scene.view.width, scene.view.height);
  if (scene.loupeAt && scene.after) drawLoupe(context, scene, scene.loupeAt);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number, number, number]} box
 * @param {() => void} draw
 */
function within(context, box, draw) {
  context.save();
  context.beginPath();
  context.rect(...box);
  context.clip();
  draw();
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {Rectangle} at
 */
function drawBefore(context, scene, at) {
  if (scene.before) draw(context, scene.before, at, !scene.hasPixels);
}

/**
 * From 2x on, the pixels of the result are shown as they are.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {Rectangle} at
 */
function drawAfter(context, scene, at) {
  if (scene.after) draw(context, scene.after, at, !(scene.zoom >= 2 && Number.isInteger(scene.zoom)));
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {CanvasImageSource} image
 * @param {Rectangle} at
 * @param {boolean} isSmooth bicubic, where the browser has it
 */
function draw(context, image, at, isSmooth) {
  context.fillStyle = checks(context);
  context.fillRect(at.left, at.top, at.width, at.height);
  context.imageSmoothingEnabled = isSmooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, at.left, at.top, at.width, at.height);
}

/** @type {CanvasPattern|null} */
let pattern = null;

/** @param {CanvasRenderingContext2D} context @returns {CanvasPattern} seen through transparency */
function checks(context) {
  if (pattern) return pattern;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 2 * CHECK;
  const paper = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  paper.fillStyle = "#999";
  paper.fillRect(0, 0, 2 * CHECK, 2 * CHECK);
  paper.fillStyle = "#777";
  paper.fillRect(0, 0, CHECK, CHECK);
  paper.fillRect(CHECK, CHECK, CHECK, CHECK);
  pattern = /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
  return pattern;
}

/**
 * Two panes side by side of the same place, input and result.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {Point} at
 */
function drawLoupe(context, scene, at) {
  const side = Math.min(LOUPE_SIDE, scene.view.width / 2 - 12);
  const times = Math.max(LOUPE_TIMES, LOUPE_LEAST_ZOOM / scene.zoom);
  const above = at.y - LOUPE_AWAY - side;
  const top = above >= 4 ? above : Math.min(at.y + LOUPE_AWAY, scene.view.height - side - 4);
  const left = clamp(at.x - side - 1, 4, scene.view.width - 2 * side - 6);
  const reach = side / times;
  outline(context, at.x - reach / 2, at.y - reach / 2, reach);
  const pane = { scene, at, side, times };
  drawPane(context, pane, left, top, drawBefore);
  drawPane(context, pane, left + side + 2, top, drawAfter);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{scene: Scene, at: Point, side: number, times: number}} pane
 * @param {number} left
 * @param {number} top
 * @param {typeof drawBefore} drawSide
 */
function drawPane(context, { scene, at, side, times }, left, top, drawSide) {
  const { picture } = scene;
  const enlarged = {
    left: left + side / 2 - times * (at.x - picture.left),
    top: top + side / 2 - times * (at.y - picture.top),
    width: times * picture.width,
    height: times * picture.height,
  };
  within(context, [left, top, side, side], () => {
    context.fillStyle = "#111";
    context.fillRect(left, top, side, side);
    drawSide(context, scene, enlarged);
  });
  outline(context, left, top, side);
}

/**
 * A square that is seen on light and on dark.
 * @param {CanvasRenderingContext2D} context
 * @param {number} left
 * @param {number} top
 * @param {number} side
 */
function outline(context, left, top, side) {
  for (const [width, colour] of /** @type {[number, string][]} */ ([[4, "#111"], [2, "#fff"]])) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.strokeRect(left, top, side, side);
  }
}
