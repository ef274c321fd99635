/** Requests to the service, and what it says about its answers. */

import { keyHeaders } from "./key.js";

const METADATA = new URL("../model/metadata", document.baseURI);
export const PREDICT = new URL("../model/predict", document.baseURI);

const TAIL_BYTES = 512; // of a PNG: its last text, and its end
const COMPUTED = /\bupscale;dur=([\d.]+)/;
const CONSISTENCY = /Consistency-PSNR\0([\d.]+)/;

/** The service answered, but not with what was asked for. */
export class Refusal extends Error {
  constructor(status, body, retryAfter) {
    super(messageIn(body));
    this.status = status;
    const seconds = Number.parseInt(retryAfter ?? "", 10);
    this.retryAfterS = Number.isNaN(seconds) ? null : Math.max(1, seconds);
  }
}

/** The service did not answer, or stopped in the middle. */
export class Unreachable extends Error {}

/** @returns {Promise<Metadata>} */
export async function loadMetadata() {
  const { response } = await send("GET", METADATA);
  return JSON.parse(await response.text());
}

/** Have a picture upscaled; the signal ends the request itself. @returns {Promise<Answer>} */
export async function upscale(file, wish, signal, onProgress) {
  const started = performance.now();
  const request = await send("POST", PREDICT, formOf(file, wish), signal, onProgress);
  const elapsedMs = performance.now() - started;
  const header = (name) => request.getResponseHeader(name) ?? "";
  return {
    blob: request.response,
    wish,
    elapsedMs,
    computedMs: Number(COMPUTED.exec(header("Server-Timing"))?.[1]),
    inputSize: header("X-Input-Size"),
    outputSize: header("X-Output-Size"),
    model: `${header("X-Model")} ${header("X-Model-Version")}`,
    consistencyDb: header("X-Consistency-PSNR") || (await consistencyInside(request.response)),
    alpha: header("X-Alpha"),
  };
}

function formOf(file, wish) {
  const form = new FormData();
  form.append("image", file, file.name);
  for (const [name, value] of Object.entries(wish)) form.append(name, value);
  return form;
}

/** @returns {Promise<XMLHttpRequest>} that is answered with what was asked for */
async function send(method, address, form = null, signal = null, onProgress = null) {
  const request = new XMLHttpRequest(); // fetch tells nothing of an upload
  request.open(method, address);
  request.responseType = "blob";
  for (const [name, value] of Object.entries(keyHeaders())) request.setRequestHeader(name, value);
  if (onProgress) watch(request, onProgress);
  await new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    request.onload = resolve;
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
  if (request.status === 200) return request;
  const body = await request.response.text();
  throw new Refusal(request.status, body, request.getResponseHeader("Retry-After"));
}

function watch(request, onProgress) {
  request.upload.onprogress = (e) => onProgress({ stage: "uploading", done: e.loaded, of: e.total });
  request.upload.onload = () => onProgress({ stage: "computing" });
  request.onprogress = (e) =>
    onProgress({ stage: "downloading", done: e.loaded, of: e.lengthComputable ? e.total : null });
}

/** The service's own words, or none. */
function messageIn(body) {
  try {
    return String(JSON.parse(body).message ?? "");
  } catch {
    return "";
  }
}

/** A PNG that is sent while it is made has the figure at its end. */
async function consistencyInside(blob) {
  const tail = await blob.slice(-TAIL_BYTES).arrayBuffer();
  return CONSISTENCY.exec(new TextDecoder("latin1").decode(tail))?.[1] ?? "";
}
