/** What the service says about large pictures before they are sent, from their headers. */

import { on } from "./dom.js";
import { withSize } from "./size.js";
import { ESTIMATE, formOf, jsonOf, send } from "./service.js";

const HEADER_BYTES = 2 ** 18; // from the beginning of a file; has the header in most formats
const UNREADABLE = 400; // status of a file whose header is elsewhere

// Smaller ones take seconds.
const LARGE_PIXELS = 5e5;
const LARGE_RESULT_PIXELS = 8e6;
const LARGE_BYTES = 5e5; // of a file of unknown size in pixels

const sentWhole = new WeakSet(); // files that are not sent a second time for an estimate

/** Returns the size of a large picture that the browser cannot show; null if it is not known. */
export async function findSize(picture) {
  if (picture.isClip || picture.file.size < LARGE_BYTES) return null;
  const found = await estimate(picture, { scale: 1 });
  return found?.input ?? null;
}

/** Adds an estimate to a picture, if it or its result is large, or the model slow. */
export async function addEstimate(picture, grid, { cost }) {
  const { isClip, options, size } = picture;
  if (isClip || !size) return;
  const isLarge = cost * size.width * size.height >= LARGE_PIXELS;
  if (!isLarge && grid.width * grid.height < LARGE_RESULT_PIXELS) return;
  const found = await estimate(picture, options);
  if (picture.options !== options) return;
  picture.estimate = found;
  on.step(picture);
}

/** Adds to each offer of a problem how long it takes; to all at once, as they are read out. */
export async function addTimes(picture) {
  const { isClip, options, problem: { offers } } = picture;
  if (isClip) return;
  const asked = offers.map(({ scale }) => estimate(picture, withSize(options, { scale })));
  const found = await Promise.all(asked);
  offers.forEach((offer, index) => Object.assign(offer, { estimate: found[index] }));
  if (picture.problem?.offers === offers) on.step(picture);
}

/** Returns how long a picture takes until it is computed, ms. */
export function timeOf({ seconds, queue_seconds: queued }) {
  return 1000 * (seconds + queued);
}

/** Asks for an estimate. @returns {Promise<Estimate | null>} null if there is none */
async function estimate({ file, control: { signal } }, options) {
  if (sentWhole.has(file)) return null;
  const ask = async (part) => {
    const form = formOf("image", part, options);
    return jsonOf(await send("POST", ESTIMATE, { form, signal }));
  };
  try {
    return await ask(new File([file.slice(0, HEADER_BYTES)], file.name));
  } catch ({ status }) {
    const isCut = status === UNREADABLE && file.size > HEADER_BYTES;
    if (!isCut || sentWhole.has(file)) return null;
  }
  sentWhole.add(file);
  return ask(file).catch(() => null);
}
