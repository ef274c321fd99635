/** Shows pictures pixel for pixel, whatever the zoom of the page. */

import { byId } from "./dom.js";

const PINCHED = 1.01; // scale of a page that is enlarged by two fingers
const CONTROLS_PX = { absolute: 270, pairs: 340 }; // CSS px above and below a picture, at most

// Browsers round lengths to 1/64 CSS px. Where a device pixel is no multiple of that, pixels would be
// blended or moved. So the canvas has a size and a position that need no rounding.
const UNITS = 64; // in a CSS pixel
const TOLERANCE = 0.001; // a ratio such as 1.1 is no exact number
const MOST_MOVED = 40; // device or CSS px, of what is tried

const canvas = /** @type {HTMLCanvasElement} */ (byId("picture"));
let picture = null; // what is shown, an ImageBitmap

/** Side of the square of device pixels that shows one pixel of a picture. */
export function dotSide() {
  return Math.max(1, Math.round(devicePixelRatio));
}

/** CSS px of a number of pixels of a picture. */
export function cssPixels(pixels) {
  return (pixels * dotSide()) / devicePixelRatio;
}

export function isPinched() {
  return (visualViewport?.scale ?? 1) > PINCHED;
}

/** The part of the window that a picture can have, CSS px. */
export function freeSpace(design) {
  return { width: innerWidth, height: innerHeight - CONTROLS_PX[design] };
}

/** Whether the shown picture is larger than its place. */
export function isScrolled() {
  const { clientWidth, clientHeight } = byId("stage");
  return cssPixels(picture.width) > clientWidth || cssPixels(picture.height) > clientHeight;
}

/** Shows a decoded picture, or none. */
export function showPicture(bitmap) {
  picture = bitmap;
  canvas.hidden = !bitmap;
  draw();
}

/** Draws the picture with as many pixels as the screen has, and moves it to whole ones.
 * The canvas may be a few pixels larger; these are transparent. */
function draw() {
  if (!picture) return;
  const side = dotSide();
  const { width, height } = picture;
  canvas.width = wholeSize(width * side);
  canvas.height = wholeSize(height * side);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, width * side, height * side);
  Object.assign(canvas.style, {
    width: `${canvas.width / devicePixelRatio}px`,
    height: `${canvas.height / devicePixelRatio}px`,
    left: "0px",
    top: "0px",
  });
  const { x, y } = canvas.getBoundingClientRect();
  canvas.style.left = `${wholePosition(x) - x}px`;
  canvas.style.top = `${wholePosition(y) - y}px`;
}

function isWhole(value) {
  return Math.abs(value - Math.round(value)) < TOLERANCE;
}

/** The least size in device pixels, from one on, whose CSS length is exact. */
function wholeSize(least) {
  for (let size = least; size < least + MOST_MOVED; size += 1) {
    if (isWhole((size * UNITS) / devicePixelRatio)) return size;
  }
  return least;
}

/** The first position in CSS px, from one on, that is exact in CSS px and in device pixels. */
function wholePosition(first) {
  for (let position = Math.ceil(first); position < first + MOST_MOVED; position += 1) {
    if (isWhole(position * devicePixelRatio)) return position;
  }
  return first;
}

addEventListener("resize", draw);
new ResizeObserver(draw).observe(byId("stage")); // the text above it may need another line
