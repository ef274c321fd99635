/** Requests to the service, and what it says about its answers. */

import { keyHeaders } from "./key.js";

const METADATA = new URL("../model/metadata", document.baseURI);
export const PREDICT = new URL("../model/predict", document.baseURI);

const TAIL_BYTES = 512; // of a PNG: its last text, and its end
const CONSISTENCY = /Consistency-PSNR\0([\d.]+)/;

/** The service answered, but not with a picture. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} message of the service
   * @param {number|null} retryAfterS
   */
  constructor(status, message, retryAfterS) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** The service did not answer, or stopped in the middle. */
export class Unreachable extends Error {}

/** @returns {Promise<any>} of /model/metadata */
export async function loadMetadata() {
  let response;
  try {
    response = await fetch(METADATA, { headers: keyHeaders() });
  } catch {
    throw new Unreachable();
  }
  if (response.ok) return response.json();
  const wait = response.headers.get("Retry-After");
  throw new Refusal(response.status, messageIn(await response.text()), waitOf(wait));
}

/**
 * Have a picture upscaled.
 * @param {File} file
 * @param {Wish} wish
 * @param {AbortSignal} signal ends the request itself
 * @param {(progress: Progress) => void} onProgress
 * @returns {Promise<Answer>}
 */
export async function upscale(file, wish, signal, onProgress) {
  const started = performance.now();
  const request = await send(formOf(file, wish), signal, onProgress);
  const elapsedMs = performance.now() - started;
  const header = (/** @type {string} */ name) => request.getResponseHeader(name) ?? "";
  if (request.status !== 200) {
    const message = messageIn(await request.response.text());
    throw new Refusal(request.status, message, waitOf(request.getResponseHeader("Retry-After")));
  }
  return {
    blob: request.response,
    wish,
    elapsedMs,
    computedMs: computedMs(header("Server-Timing")),
    inputSize: header("X-Input-Size"),
    outputSize: header("X-Output-Size"),
    model: `${header("X-Model")} ${header("X-Model-Version")}`,
    consistencyDb: header("X-Consistency-PSNR") || (await consistencyInside(request.response)),
    alpha: header("X-Alpha"),
  };
}

/** @param {File} file @param {Wish} wish @returns {FormData} */
function formOf(file, wish) {
  const form = new FormData();
  form.append("image", file, file.name);
  form.append("detail", String(wish.detail));
  form.append("format", wish.format);
  if (wish.quality) form.append("quality", String(wish.quality));
  return form;
}

/**
 * @param {FormData} form
 * @param {AbortSignal} signal
 * @param {(progress: Progress) => void} onProgress
 * @returns {Promise<XMLHttpRequest>} that is answered
 */
function send(form, signal, onProgress) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest(); // fetch tells nothing of an upload
    request.open("POST", PREDICT);
    request.responseType = "blob";
    for (const [name, value] of Object.entries(keyHeaders())) request.setRequestHeader(name, value);
    request.upload.onprogress = (e) => onProgress({ stage: "uploading", done: e.loaded, of: e.total });
    request.upload.onload = () => onProgress({ stage: "computing" });
    request.onprogress = (e) =>
      onProgress({ stage: "downloading", done: e.loaded, of: e.lengthComputable ? e.total : null });
    request.onload = () => resolve(request);
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

/** @param {string} body @returns {string} the service's own words, or none */
function messageIn(body) {
  try {
    return String(JSON.parse(body).message ?? "");
  } catch {
    return "";
  }
}

/** @param {string|null} header @returns {number|null} seconds */
function waitOf(header) {
  const seconds = Number.parseInt(header ?? "", 10);
  return Number.isNaN(seconds) ? null : Math.max(1, seconds);
}

/** @param {string} timing the header Server-Timing @returns {number|null} */
function computedMs(timing) {
  const found = /\bupscale;dur=([\d.]+)/.exec(timing);
  return found ? Number(found[1]) : null;
}

/**
 * A PNG that is sent while it is made has the figure at its end.
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
async function consistencyInside(blob) {
  const tail = await blob.slice(-TAIL_BYTES).arrayBuffer();
  return CONSISTENCY.exec(new TextDecoder("latin1").decode(tail))?.[1] ?? "";
}
