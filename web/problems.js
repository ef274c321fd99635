/** What went wrong, in plain words, and what to do about it. */

import { Refusal, Unreachable } from "./service.js";
import { bytes, pixels, size } from "./wording.js";

const FRAMING_BYTES = 2000; // of a request, around the file
const PATIENCE_S = 5; // where the service does not say how long to wait

/** Title, advice, and whether it can be tried again. */
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

export const CANCELLED = problem("Cancelled.", "", true);
export const OFFLINE = problem("You are offline.", "Pictures go on when the connection is back.", true);
const INTERRUPTED = problem("The service does not answer, or stopped in the middle.",
  "Check the connection, then try again.", true);

/** @returns {Problem} */
export function problemOf(error) {
  if (error instanceof Refusal) return refused(error);
  if (error instanceof Unreachable) return navigator.onLine ? INTERRUPTED : OFFLINE;
  throw error; // a fault of this page: for the console
}

function refused({ status, message, retryAfterS }) {
  const said = BY_STATUS[status] ?? [
    "The service failed.", `Try again. If it happens again, tell whoever runs it (${status}).`, true,
  ];
  const wait = BUSY.includes(status) ? (retryAfterS ?? PATIENCE_S) : null;
  return { ...problem(...said), told: message, retryAfterS: wait };
}

/** What can be told before a byte is sent; an image and limits are there if they are known. */
export function problemBefore(file, image, limits) {
  if (file.size === 0) return problem("This file is empty.", "Choose another.", false);
  if (!limits) return null;
  const most = limits.max_upload_bytes - FRAMING_BYTES;
  if (file.size > most) return tooLarge(bytes(file.size), bytes(most));
  if (!image) return null;
  const { width, height } = image;
  const has = `${size(image)} pixels`;
  if (width * height > limits.max_pixels) return tooLarge(has, pixels(limits.max_pixels));
  if (Math.max(width, height) > limits.max_side) return tooLarge(has, `${limits.max_side} a side`);
  return null;
}

function tooLarge(has, most) {
  const [title, advice] = BY_STATUS[413];
  return problem(title, `It has ${has}, at most ${most} are taken. ${advice}`, false);
}

/** @returns {Problem} that the service told nothing about */
function problem(title, advice, canRetry) {
  return { title, advice, canRetry, told: "", retryAfterS: null };
}
