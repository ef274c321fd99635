/** Problems: what went wrong and what to do about it, in plain words. */

import { say } from "./dom.js";
import { Refusal, Unreachable } from "./service.js";
import { objection, offersFor } from "./size.js";
import { bytes, pixels, seconds, size } from "./wording.js";

const FRAMING_BYTES = 2000; // of a request, in addition to the file
const DEFAULT_WAIT_S = 5; // if the service does not say how long to wait
const BUSY = [429, 503, 507];
const FINAL = [400, 403, 413, 415];
const OF_OPTIONS = /^(`\w+`|Size) must/; // a message about the options, not about the file

export const CANCELLED = problem("cancelled", true);
export const OFFLINE = problem("offline", true);
const INTERRUPTED = problem("interrupted", true);

/** Returns the problem that an error stands for. @returns {Problem} */
export function problemOf(error) {
  if (error instanceof Refusal) return refused(error);
  if (error instanceof Unreachable) return unreachable();
  throw error; // a bug of this page: for the console
}

function unreachable() {
  return navigator.onLine ? INTERRUPTED : OFFLINE;
}

function refused({ status, message, retryAfterS }) {
  const wait = BUSY.includes(status) ? (retryAfterS ?? DEFAULT_WAIT_S) : null;
  const name = OF_OPTIONS.test(message) ? "problem-options" : `problem-${status}`;
  return { ...problem(name, !FINAL.includes(status), { status }), message, retryAfterS: wait };
}

/** Returns the problem that is known before anything is sent; null if there is none. */
export function problemBefore(picture, metadata) {
  const { file, kind, isClip, before, size: input } = picture;
  if (!metadata) return unreachable();
  if (file.size === 0) return problem("empty", false);
  if (!isClip && ["video", "archive"].includes(kind)) return problem("no-clips", false);
  const limits = isClip ? metadata.jobs : metadata.limits;
  const maxBytes = limits.max_upload_bytes - FRAMING_BYTES;
  if (file.size > maxBytes) return tooLarge(bytes(file.size), bytes(maxBytes));
  if (!input) return null;
  const { width, height } = input;
  const has = `${size(input)} pixels`;
  if (width * height > limits.max_pixels) return tooLarge(has, pixels(limits.max_pixels));
  if (Math.max(width, height) > limits.max_side) return tooLarge(has, `${limits.max_side} a side`);
  const duration = before?.duration;
  const isLong = duration > limits.max_seconds;
  if (isLong) return tooLarge(seconds(1000 * duration), seconds(1000 * limits.max_seconds));
  return sizeProblem(picture, metadata);
}

/** Returns the problem of a size that the picture cannot have, with those that it can have. */
function sizeProblem(picture, metadata) {
  const why = objection(picture.options, picture, metadata);
  return why ? { ...problem("no-size", false, { why }), offers: offersFor(picture, metadata) } : null;
}

function tooLarge(has, most) {
  const problem = refused({ status: 413, message: "" });
  return { ...problem, advice: `${say("too-large", { has, most })} ${problem.advice}` };
}

/** Returns a problem; the first sentence of its text is the title. @returns {Problem} */
function problem(name, canRetry, gaps) {
  const [title, ...advice] = say(name, gaps, "problem").split(/(?<=\.) /);
  return { title, advice: advice.join(" "), canRetry, message: "", retryAfterS: null };
}
