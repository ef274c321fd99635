/** Sizes of results, by the rules of the service: docs/sizes.md. */

import { say } from "./dom.js";
import { modelFor, mostScale } from "./model.js";
import { pixels, size } from "./wording.js";

const FIELDS = ["scale", "width", "height", "fit"];
const DECIMALS = 9; // of products: floats would put 100.5 below the half

const LEAST_SCALE = 1;

export const SCALES = [1, 2, 4, 8]; // that have buttons

/** Returns the fields of options that ask for a size; none for the usual one. @returns {Wanted} */
export function sizeIn(options) {
  return Object.fromEntries(Object.entries(options).filter(([name]) => FIELDS.includes(name)));
}

/** Returns options with another size. @returns {Options} */
export function withSize(options, wanted) {
  const others = Object.entries(options).filter(([name]) => !FIELDS.includes(name));
  return { ...Object.fromEntries(others), ...wanted };
}

/** Returns whether another size can be chosen. A restored job has no file to upscale again. */
export function canChangeSize({ file }) {
  return file.size > 0;
}

/** Returns the grid of the result of a picture, whose size is known. @returns {Grid} */
export function resultGrid(wanted, { size: input, kind }, usual) {
  const grid = gridOf(wanted, input, usual);
  return kind === "video" ? withEvenSides(grid, input) : grid;
}

/** Returns the grid of a video: an odd side loses its last pixel. */
function withEvenSides(grid, input) {
  const [width, height] = [grid.width, grid.height].map((length) => length - (length % 2));
  if (width === grid.width && height === grid.height) return grid;
  const whole = grid.part ?? { left: 0, top: 0, ...input };
  const part = {
    ...whole,
    width: (whole.width * width) / grid.width,
    height: (whole.height * height) / grid.height,
  };
  return { ...grid, width, height, part };
}

/** Returns the size of enlarged frames, their factor, and the part of the input that they show. */
function gridOf({ scale, width, height, fit }, input, usual) {
  const factors = [width / input.width, height / input.height].filter(Number.isFinite);
  const covers = fit === "cover" && factors.length === 2;
  const factor = factors.length ? Math[covers ? "max" : "min"](...factors) : (scale ?? usual);
  const whole = { width: side(input.width, factor), height: side(input.height, factor) };
  if (!covers) return { ...whole, factor, part: null };
  const part = {
    left: cropped(input.width, factor, width),
    top: cropped(input.height, factor, height),
    width: width / factor,
    height: height / factor,
  };
  return { width, height, factor, part };
}

function side(length, factor) {
  return Math.max(1, Math.floor(exact(length * factor) + 0.5));
}

/** Returns where a crop begins, in pixels of the input: at a whole pixel of the result. */
function cropped(length, factor, wanted) {
  return Math.floor(exact((length * factor - wanted) / 2)) / factor;
}

function exact(number) {
  return Number(number.toFixed(DECIMALS));
}

/** Returns why a picture, whose size is known, cannot have another size; "" if it can. */
export function objection(wanted, { size: input, isClip, options }, metadata) {
  const model = modelFor(options, metadata);
  const times = mostScale(model);
  const grid = gridOf(wanted, input, model.scale);
  if (grid.factor < LEAST_SCALE || grid.factor > times) {
    const [least, most] = [LEAST_SCALE, times].map((scale) => size(gridOf({ scale }, input)));
    return say("size-factor", { times, least, most });
  }
  const most = metadata.limits.max_output_pixels;
  if (grid.width * grid.height <= most) return "";
  return say(isClip ? "frames-large" : "size-large", { size: size(grid), most: pixels(most) });
}

/** Returns the sizes that buttons may offer; for any picture if none is given. @returns {Offer[]} */
export function offersFor(picture, metadata, { model } = picture.options) {
  const isKnown = Boolean(picture?.size);
  return SCALES
    .filter((scale) => scale > 1 || metadata.restore.most > 0) // 1x without a restorer does nothing
    .filter((scale) => scale <= mostScale(modelFor({ model }, metadata)))
    .filter((scale) => !(isKnown && objection({ scale }, picture, metadata)))
    .map((scale) => ({ scale, grid: isKnown ? resultGrid({ scale }, picture) : null, estimate: null }));
}

/** Returns a size as a part of a file name, such as "4x" or "1920w". */
export function sizeName({ scale, width, height }, usual) {
  const sides = [width && `${width}w`, height && `${height}h`].filter(Boolean);
  return sides.join("_") || `${scale ?? usual}x`;
}
