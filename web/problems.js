/** What went wrong, in plain words, and what to do about it. */

import { Refusal, Unreachable } from "./service.js";
import { bytes, pixels, size } from "./wording.js";

const FRAMING_BYTES = 2000; // of a request, around the file
const PATIENCE_S = 5; // where the service does not say how long to wait

/** @type {Record<number, [title: string, advice: string, canRetry: boolean]>} */
const BY_STATUS = {
  400: ["This is not a picture that can be read.",
    "Check that it opens elsewhere, and save it again as PNG or JPEG.", false],
  401: ["The service wants a key.", "Try again to enter it.", true],
  403: ["Your key does not allow this.", "Ask whoever runs the service.", false],
  408: ["Sending took too long.", "Try again, with a better connection if there is one.", true],
  413: ["This picture is too large.", "Make it smaller, or cut out the part you need.", false],
  415: ["Pictures of this kind are not taken.",
    "Save it as PNG or JPEG with 8 or 16 bits a colour.", false],
  429: ["You are faster than the service allows.", "It goes on by itself in a moment.", true],
  503: ["The service is busy.", "It goes on by itself when there is room.", true],
  504: ["This took too long.", "Try again later, or with a smaller picture.", true],
};
const BUSY = [429, 503];

/** @param {unknown} error @returns {Problem} */
export function problemOf(error) {
  if (error instanceof Refusal) return refused(error);
  if (error instanceof Unreachable) return navigator.onLine ? interrupted() : offline();
  throw error; // a fault of this page: for the console
}

/** @param {Refusal} refusal @returns {Problem} */
function refused({ status, message, retryAfterS }) {
  const [title, advice, canRetry] = BY_STATUS[status] ?? [
    "The service failed.", `Try again. If it happens again, tell whoever runs it (${status}).`, true,
  ];
  const wait = BUSY.includes(status) ? (retryAfterS ?? PATIENCE_S) : null;
  return { title, advice, told: message, canRetry, retryAfterS: wait };
}

/** @returns {Problem} */
export function offline() {
  return said("You are offline.", "Pictures go on when the connection is back.", true);
}

/** @returns {Problem} */
function interrupted() {
  return said("The service does not answer, or stopped in the middle.",
    "Check the connection, then try again.", true);
}

/**
 * What can be told before a byte is sent.
 * @param {File} file
 * @param {{width: number, height: number}|null} dimensions null if this browser cannot tell
 * @param {Limits|null} limits null if they are not known
 * @returns {Problem|null}
 */
export function problemBefore(file, dimensions, limits) {
  if (file.size === 0) return said("This file is empty.", "Choose another.", false);
  if (!limits) return null;
  const most = limits.max_upload_bytes - FRAMING_BYTES;
  if (file.size > most) return tooLarge(`It has ${bytes(file.size)}, at most ${bytes(most)} are taken.`);
  if (!dimensions) return null;
  const { width, height } = dimensions;
  const is = `It has ${size(width, height)} pixels`;
  if (width * height > limits.max_pixels) return tooLarge(`${is}, at most ${pixels(limits.max_pixels)} are taken.`);
  if (Math.max(width, height) > limits.max_side) return tooLarge(`${is}, at most ${limits.max_side} a side are taken.`);
  return null;
}

/** @param {string} why @returns {Problem} */
function tooLarge(why) {
  const [title, advice] = BY_STATUS[413];
  return said(title, `${why} ${advice}`, false);
}

/** @param {string} title @param {string} advice @param {boolean} canRetry @returns {Problem} */
function said(title, advice, canRetry) {
  return { title, advice, told: "", canRetry, retryAfterS: null };
}
