/** Draws the input and the result on both sides of the divider, and the loupe. */

import { clamp, visible } from "./geometry.js";

const LOUPE_SIDE = 168;
const LOUPE_TIMES = 3; // magnification, relative to the zoom around it or to 1:1
const LOUPE_AWAY = 28; // distance from the pointer

export function paint(context, scene) {
  const { view, picture, dividerX } = scene;
  context.clearRect(0, 0, view.width, view.height);
  const seen = visible(view, picture);
  const right = scene.after ? clamp(dividerX, seen.left, seen.left + seen.width) : view.width;
  within(context, [0, 0, right, view.height], () => drawBefore(context, scene, picture));
  within(context, [right, 0, view.width - right, view.height], () => drawAfter(context, scene, picture));
}

/** Draws the input and the result at one point, side by side. */
export function paintLoupe(context, scene) {
  const { view, zoom, loupeAt: at } = scene;
  context.clearRect(0, 0, view.width, view.height);
  if (!at || !scene.after) return;
  const side = Math.min(LOUPE_SIDE, view.width / 2 - 12);
  const times = LOUPE_TIMES / Math.min(1, zoom);
  const above = at.y - LOUPE_AWAY - side;
  const top = above >= 4 ? above : Math.min(at.y + LOUPE_AWAY, view.height - side - 4);
  const left = clamp(at.x - side - 1, 4, view.width - 2 * side - 6);
  const reach = side / times;
  outline(context, at.x - reach / 2, at.y - reach / 2, reach);
  const pane = { scene, at, side, times, top };
  drawPane(context, pane, left, drawBefore);
  drawPane(context, pane, left + side + 2, drawAfter);
}

function within(context, box, draw) {
  context.save();
  context.beginPath();
  context.rect(...box);
  context.clip();
  draw();
  context.restore();
}

function drawBefore(context, scene, at) {
  draw(context, scene.before, at, !scene.hasPixels, scene.part);
}

/** Draws the result; at integer zooms from 2 on with sharp pixels. */
function drawAfter(context, scene, at) {
  draw(context, scene.after, at, !(scene.zoom >= 2 && Number.isInteger(scene.zoom)));
}

/** Draws an image, or a part of it; smooth means bicubic where the browser supports it. */
function draw(context, image, at, isSmooth, part) {
  if (!image) return;
  context.imageSmoothingEnabled = isSmooth;
  context.imageSmoothingQuality = "high";
  const source = part ? [part.left, part.top, part.width, part.height] : [];
  context.drawImage(image, ...source, at.left, at.top, at.width, at.height);
}

function drawPane(context, { scene, at, side, times, top }, left, drawSide) {
  const { picture } = scene;
  const enlarged = {
    left: left + side / 2 - times * (at.x - picture.left),
    top: top + side / 2 - times * (at.y - picture.top),
    width: times * picture.width,
    height: times * picture.height,
  };
  within(context, [left, top, side, side], () => {
    context.fillStyle = "#888";
    context.fillRect(left, top, side, side);
    drawSide(context, scene, enlarged);
  });
  outline(context, left, top, side);
}

function outline(context, left, top, side) {
  for (const [width, colour] of [[4, "#111"], [2, "#fff"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.strokeRect(left, top, side, side);
  }
}
