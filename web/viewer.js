/** The view: divider, zoom, pan and loupe; by mouse, touch and keyboard. */

import { PLAIN, ensureBase, modelBases, modelOfBase, optionsOf } from "./compare.js";
import { byId, newElement, on, say, write } from "./dom.js";
import {
  MAX_ZOOM, clamp, fitZoom, inside, insetTo, limitCentre, moved, pictureRectangle, uncropped,
  visible,
} from "./geometry.js";
import { modelFor } from "./model.js";
import { paint, paintLoupe } from "./painter.js";
import { sizeOf } from "./picture.js";
import { resultGrid } from "./size.js";
import { decimal, size } from "./wording.js";

const ZOOM_STEP = Math.SQRT2;
const WHEEL_STEP = 0.01;
const MOVE_PX = 32; // distance that a key moves the picture or the loupe
const APART_S = 0.05; // largest difference in time between the input and the result of a video

const ARROWS = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};
const DIVIDER_STEPS = {
  ArrowLeft: -0.01, ArrowRight: 0.01, ArrowUp: 0.01, ArrowDown: -0.01,
  PageUp: 0.1, PageDown: -0.1, Home: -1, End: 1,
};
const ZOOM_KEYS = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "1", 2: "2", 4: "4" };

const box = byId("view");
const [checks, canvas, lens, players, overlay, divider] =
  ["checks", "canvas", "lens", "reels", "seen", "divider"].map(byId);
const rival = byId("rival");

let [before, after] = [null, null];
let picture = { width: 1, height: 1 }; // size of the result
let part = null; // of the input that the result shows; null for all of it
let view = { width: 1, height: 1 };
let middle = { x: 0, y: 0 }; // centre of the view
let zoom = 1; // CSS pixels per pixel of the result
let isFit = true;
let centre = { x: 0, y: 0 };
let split = 0.5;
let chosenBase = "smooth"; // left of the divider: "smooth" or "pixels" input, or another result
let base = "smooth"; // the same, as far as the picture has it
let isResult = false; // whether that other result is there to be shown
let left = ""; // what is left of the divider, in words
let plays = !matchMedia("(prefers-reduced-motion: reduce)").matches;
let loupeAt = null; // position in the view; null without a loupe
let drag = null; // "split", "pan", "loupe", or "pinch"
let isDue = false;
const pointers = new Map(); // points by pointer id

new ResizeObserver(resize).observe(box);
box.onpointerdown = onPointerDown;
box.onpointermove = onPointerMove;
box.onpointerup = box.onpointercancel = onPointerUp;
box.onwheel = onWheel;
box.onkeydown = onKey;
box.ondblclick = () => zoomBy(isFit ? "1" : "fit");
byId("loupe").onclick = toggleLoupe;
byId("play").onclick = togglePlay;
byId("tools").onclick = ({ target: { dataset } }) => {
  if (dataset.base) chooseBase(dataset.base);
  if (dataset.zoom) zoomBy(dataset.zoom);
  else update();
};

rival.onchange = () => chooseBase(rival.value || "smooth");

function chooseBase(wanted) {
  chosenBase = wanted;
  on.base();
}

/** Shows a picture; null if there is none. */
export function showView(shown, metadata) {
  const image = shown?.after ?? shown?.before;
  box.hidden = !image;
  if (!image) return;
  ({ before, after } = shown);
  base = ensureBase(shown, chosenBase, metadata);
  isResult = shown.other?.base === base && Boolean(shown.other.image);
  if (isResult) before = shown.other.image;
  const options = shown.answer?.options ?? shown.options;
  const usual = metadata && modelFor(options, metadata).scale;
  const grid = resultGrid(options, { ...shown, size: shown.size ?? sizeOf(image) }, usual);
  part = before && !isResult ? grid.part : null;
  if (!before && !shown.isClip) before = scaledDown(after, grid.factor);
  const result = after ? sizeOf(after) : grid;
  if (size(result) !== size(picture)) centre = { x: result.width / 2, y: result.height / 2 };
  picture = result;
  overlay.hidden = !(before && after);
  setPlayers(shown.isClip && after ? [before, after].filter(Boolean) : []);
  const { name } = shown.file;
  const scale = decimal(grid.factor);
  left = leftWords(shown, scale);
  canvas.setAttribute("aria-label", after ? say("sides", { name, left, size: size(result) }) : name);
  const { name: model } = modelOfBase(base) && modelFor(options, metadata);
  write("tag-after", model ? say("by-model", { model, scale }) : `${scale}×`);
  write("tag-before", left);
  showOthers(shown, metadata);
  update();
}

/** Returns what is left of the divider, in words. */
function leftWords(shown, scale) {
  const model = modelOfBase(base);
  if (model) return say(isResult ? "by-model" : "by-model-coming", { model, scale });
  if (base === PLAIN) return say(isResult ? "without" : "without-coming");
  return say(shown.before ? "yours" : "made");
}

/** Shows which results the picture can be compared with. The list stays, or it would close. */
function showOthers(shown, metadata) {
  byId("plain").hidden = !optionsOf(PLAIN, shown, metadata);
  const bases = metadata ? modelBases(shown, metadata) : [];
  const [first, ...others] = rival.options;
  if (String(bases) !== String(others.map(({ value }) => value))) {
    rival.replaceChildren(first, ...bases.map(newModelOption));
  }
  rival.hidden = bases.length === 0;
}

function newModelOption(value) {
  return newElement("option", { value, textContent: modelOfBase(value) });
}

/** Shows elements that play. The same ones stay in place, or they would start again. */
function setPlayers(elements) {
  const { firstChild, lastChild } = players;
  if (elements.length && elements[0] === firstChild && elements.at(-1) === lastChild) return;
  players.replaceChildren(...elements);
  if (after) after.ontimeupdate = synchronise;
}

/** Keeps the input at the time of the result: two decoders drift apart. */
function synchronise() {
  const { currentTime } = after;
  if (Math.abs(before?.currentTime - currentTime) > APART_S) before.currentTime = currentTime;
}

function zoomBy(how) {
  const zooms = { in: zoom * ZOOM_STEP, out: zoom / ZOOM_STEP, fit: zoom };
  zoomTo(zooms[how] ?? Number(how), middle, how === "fit");
}

/** Zooms; the point `at` of the view stays in place. */
function zoomTo(wanted, at, fits = false) {
  const next = clamp(wanted, Math.min(1, fitZoom(view, picture)), MAX_ZOOM);
  centre = moved(centre, moved(at, middle, -1), 1 / zoom - 1 / next);
  zoom = next;
  isFit = fits;
  update();
}

/** Shows or hides the loupe. It pauses what plays. */
function toggleLoupe() {
  loupeAt = loupeAt ? null : { x: view.width / 3, y: view.height / 2 };
  plays &&= !loupeAt;
  update();
}

function togglePlay() {
  plays = !plays;
  if (plays) loupeAt = null;
  update();
}

function currentRectangle() {
  return pictureRectangle(view, picture, zoom, centre);
}

function resize() {
  const { clientWidth: width, clientHeight: height } = box;
  if (!width || !height) return;
  view = { width, height };
  middle = { x: width / 2, y: height / 2 };
  for (const layer of [canvas, lens]) {
    layer.width = Math.round(width * devicePixelRatio);
    layer.height = Math.round(height * devicePixelRatio);
  }
  update();
}

/** Updates the controls, and draws once before the next frame. */
function update() {
  if (isFit) zoom = fitZoom(view, picture);
  centre = limitCentre(view, picture, zoom, centre);
  box.toggleAttribute("data-moves", isPannable() || loupeAt !== null);
  players.hidden = !plays;
  for (const player of players.children) player[plays ? "play" : "pause"]?.()?.catch(() => {});
  updateButtons();
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(draw);
}

function updateButtons() {
  write("zoom", `${Math.round(100 * zoom)} %`);
  write("play", say(plays ? "pause" : "play"));
  rival.value = modelOfBase(base) && base;
  const pressed = { loupe: loupeAt !== null, base, zoom: isFit ? "fit" : zoom };
  for (const button of byId("tools").querySelectorAll("[aria-pressed]")) {
    const [[name, value]] = Object.entries(button.dataset);
    button.setAttribute("aria-pressed", value === String(pressed[name]));
  }
}

function draw() {
  isDue = false;
  const whole = currentRectangle();
  const seen = visible(view, whole);
  const dividerX = seen.left + split * seen.width;
  positionOverlay(seen);
  const isMoving = plays && players.children.length > 0;
  if (isMoving) positionPlayers(whole, dividerX);
  const hasPixels = isResult ? zoom >= 2 && Number.isInteger(zoom) : base === "pixels";
  const scene = { view, picture: whole, before, part, after, zoom, dividerX, hasPixels };
  scene.loupeAt = loupeAt && inside(seen, loupeAt);
  paint(scaled(canvas), isMoving ? { ...scene, before: null, after: null } : scene);
  paintLoupe(scaled(lens), scene);
}

function positionOverlay(seen) {
  for (const element of [checks, overlay]) setBox(element, seen);
  const percent = Math.round(100 * split);
  divider.style.left = `${100 * split}%`;
  divider.setAttribute("aria-valuenow", percent);
  divider.setAttribute("aria-valuetext", say("split", { percent, left }));
}

/** Clips both elements, or one would show through the other. */
function positionPlayers(whole, dividerX) {
  const width = before ? dividerX - whole.left : 0;
  const leftSide = { ...whole, width };
  const rightSide = { ...whole, left: whole.left + width, width: whole.width - width };
  for (const player of players.children) {
    const isAfter = player === after;
    const box = part && !isAfter ? uncropped(whole, part, sizeOf(player)) : whole;
    setBox(player, box);
    player.style.clipPath = insetTo(box, isAfter ? rightSide : leftSide);
  }
  players.toggleAttribute("data-pixels", base === "pixels");
}

function setBox(element, where) {
  for (const [length, px] of Object.entries(where)) element.style[length] = `${px}px`;
}

function isPannable() {
  const { width, height } = currentRectangle();
  return width > view.width + 1 || height > view.height + 1;
}

function onPointerDown(e) {
  if (e.button !== 0) return;
  e.preventDefault(); // no selection of text, no dragging of images
  divider.focus({ preventScroll: true });
  box.setPointerCapture(e.pointerId);
  const at = pointOf(e);
  pointers.set(e.pointerId, at);
  if (pointers.size > 1) drag = "pinch";
  else if (divider.contains(e.target)) drag = "split";
  else if (loupeAt && e.pointerType !== "mouse") drag = "loupe";
  else drag = isPannable() ? "pan" : "split";
  dragTo(at, at);
}

function onPointerMove(e) {
  const at = pointOf(e);
  if (loupeAt && e.pointerType === "mouse") moveLoupe(at);
  const from = pointers.get(e.pointerId);
  if (!from) return;
  if (drag === "pinch") pinch(e.pointerId, from, at);
  else dragTo(from, at);
  pointers.set(e.pointerId, at);
}

function onPointerUp(e) {
  pointers.delete(e.pointerId);
  drag = null; // the remaining finger of a pinch moves nothing
}

function dragTo(from, to) {
  const seen = visible(view, currentRectangle());
  if (drag === "split") splitTo((to.x - seen.left) / seen.width);
  if (drag === "pan") pan(moved(to, from, -1));
  if (drag === "loupe") moveLoupe(to);
}

function pinch(id, from, to) {
  const [, other] = [...pointers].find(([otherId]) => otherId !== id);
  const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
  zoomTo((zoom * apart(to)) / apart(from), { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 });
  pan(moved(to, from, -1), 0.5);
}

function splitTo(share) {
  split = clamp(share, 0, 1);
  update();
}

function pan(by, times = 1) {
  centre = moved(centre, by, -times / zoom);
  update();
}

function moveLoupe(at) {
  loupeAt = inside({ left: 0, top: 0, ...view }, at);
  update();
}

/** Zooms by wheel with Ctrl, which is also a pinch on a touchpad. Else the page scrolls. */
function onWheel(e) {
  if (!e.ctrlKey && !e.metaKey) return;
  e.preventDefault();
  zoomTo(zoom * Math.exp(-WHEEL_STEP * clamp(e.deltaY, -50, 50)), pointOf(e));
}

function onKey(e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.shiftKey && e.key in ARROWS) moveByKey(ARROWS[e.key]);
  else if (e.key in DIVIDER_STEPS) splitTo(split + DIVIDER_STEPS[e.key]);
  else if (e.key in ZOOM_KEYS) zoomBy(ZOOM_KEYS[e.key]);
  else if (e.key.toLowerCase() === "l") toggleLoupe();
  else return;
  e.preventDefault();
}

function moveByKey(direction) {
  if (loupeAt) moveLoupe(moved(loupeAt, direction, MOVE_PX));
  else pan(direction, -MOVE_PX);
}

function pointOf(e) {
  const { left, top } = box.getBoundingClientRect();
  return { x: e.clientX - left, y: e.clientY - top };
}

function scaled(layer) {
  const context = layer.getContext("2d");
  const ratio = layer.width / view.width;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** Returns the scaled-down result, for an input that the browser cannot show. */
function scaledDown(image, scale) {
  const [width, height] = [image.width, image.height].map((side) => Math.ceil(side / scale));
  const small = newElement("canvas", { width, height });
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return small;
}
