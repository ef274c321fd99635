/** Other results of a picture to compare its result with: not restored, or of another model. */

import { on } from "./dom.js";
import { modelFor, mostScale, usableModels, withModel } from "./model.js";
import { release, showable } from "./picture.js";
import { problemOf } from "./problems.js";
import { pause, upscale } from "./service.js";
import { resultGrid, sizeIn } from "./size.js";

const INPUTS = ["smooth", "pixels"];
const MODEL = "model:"; // before a name, as a model may be called "smooth"

export const PLAIN = "plain";

/** Returns the name of the model that a base stands for; "" for the model of the result. */
export function modelOfBase(base) {
  return base.startsWith(MODEL) ? base.slice(MODEL.length) : "";
}

/** Returns the bases of the models whose results can be compared with that of a picture. */
export function modelBases(picture, metadata) {
  const bases = usableModels(metadata).map(({ name }) => MODEL + name);
  return bases.filter((base) => optionsOf(base, picture, metadata));
}

/** Returns the options of the other result that a base stands for; null if there is none. */
export function optionsOf(base, picture, metadata) {
  const { after, answer, isClip } = picture;
  if (!after || isClip) return null;
  const { options, strength } = answer;
  if (base === PLAIN) return strength > 0 ? { ...options, restore: 0 } : null;
  const model = modelFor(options, metadata);
  const other = usableModels(metadata).find(({ name }) => name === modelOfBase(base));
  if (!other || other === model || !picture.size) return null;
  if (resultGrid(options, picture, model.scale).factor > mostScale(other)) return null;
  const hasSize = Object.keys(sizeIn(options)).length > 0;
  return withModel(hasSize ? options : { ...options, scale: model.scale }, other.name, metadata);
}

/** Returns the wanted base, or "smooth" if a picture lacks it. Requests its result once. */
export function ensureBase(picture, wanted, metadata) {
  if (INPUTS.includes(wanted)) return wanted;
  const options = optionsOf(wanted, picture, metadata);
  if (!options) return INPUTS[0];
  const { answer, other } = picture;
  if (other?.base !== wanted || other.answer !== answer) void load(picture, wanted, options);
  return picture.other.hasFailed ? INPUTS[0] : wanted;
}

/** Forgets the other result of a picture, or stops its request. */
export function dropOther(picture) {
  const { other } = picture;
  picture.other = null;
  other?.control.abort();
  release(other?.image);
}

/** Requests another result, and again while the service is busy. */
async function load(picture, base, options) {
  dropOther(picture);
  const control = new AbortController();
  const other = { base, control, answer: picture.answer, image: null, hasFailed: false };
  picture.other = other;
  const signal = AbortSignal.any([control.signal, picture.control.signal]);
  try {
    const { blob } = await upscalePatiently(picture, options, signal);
    const image = await showable(blob);
    if (picture.other !== other) return release(image);
    Object.assign(other, { image, hasFailed: !image });
  } catch (error) {
    if (signal.aborted) {
      if (picture.other === other) picture.other = null;
      return;
    }
    const { title, message } = problemOf(error);
    other.hasFailed = true;
    on.notice(`${title} ${message}`);
  }
  on.step(picture);
}

async function upscalePatiently(picture, options, signal) {
  for (;;) {
    try {
      return await upscale(picture, options, signal, () => {});
    } catch (error) {
      const waitS = signal.aborted ? null : problemOf(error).retryAfterS;
      if (waitS === null) throw error;
      await pause(1000 * waitS);
    }
  }
}
