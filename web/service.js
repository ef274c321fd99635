/** Requests to the service, and what its responses say. */

import { askForKey, keyHeaders } from "./key.js";

const MODEL = new URL("../model/", document.baseURI);
export const PREDICT = new URL("predict", MODEL);
export const ESTIMATE = new URL("estimate", MODEL);
export const JOBS = new URL("jobs", MODEL);
export const POLL_MS = 1000; // between requests for progress

const TAIL_BYTES = 512; // end of a PNG, with its last text chunk
const COMPUTED = /\bupscale;dur=([\d.]+)/;
const CONSISTENCY = /Consistency-PSNR\0([\d.]+)/;

export class Refusal extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfterS = Math.max(1, Number.parseInt(retryAfter, 10)) || null;
  }
}

/** The service did not answer, or not completely. */
export class Unreachable extends Error {}

/** Returns the limits and the model of the service. @returns {Promise<Metadata>} */
export async function loadMetadata() {
  return jsonOf(await send("GET", new URL("metadata", MODEL)));
}

export async function jsonOf({ response }) {
  return JSON.parse(await response.text());
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Upscales a picture. The signal aborts the request. @returns {Promise<Answer>} */
export async function upscale({ file }, options, signal, onProgress) {
  const started = performance.now();
  const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const over = new AbortController();
  const progress = {};
  const update = (change) => onProgress(Object.assign(progress, change));
  const polling = AbortSignal.any([signal, over.signal]);
  const onChange = (change) => {
    update(change);
    if (change.stage === "computing") void pollProgress(id, polling, update);
  };
  const content = { form: formOf("image", file, options), headers: { "X-Request-Id": id } };
  const request = await send("POST", PREDICT, { ...content, signal, onProgress: onChange })
    .finally(() => over.abort());
  const header = (name) => request.getResponseHeader(name) ?? "";
  return {
    blob: request.response,
    options,
    elapsedMs: performance.now() - started,
    computedMs: Number(COMPUTED.exec(header("Server-Timing"))?.[1]),
    inputSize: header("X-Input-Size"),
    outputSize: header("X-Output-Size"),
    model: modelOf(request),
    consistencyDb: header("X-Consistency-PSNR") || (await consistencyInside(request.response)),
    alpha: header("X-Alpha"),
    strength: Number.parseFloat(header("X-Restore")) || 0,
    isSuspected: header("X-Scaling-Attack") !== "",
  };
}

/** Polls until there is no progress: another process of the service may have the picture. */
async function pollProgress(id, signal, update) {
  const address = new URL(`progress/${id}`, MODEL);
  for (;;) {
    await pause(POLL_MS);
    const request = await send("GET", address, { signal }).catch(() => null);
    if (!request) return;
    const report = await jsonOf(request);
    if (!signal.aborted) update({ report });
  }
}

export function modelOf(request) {
  return `${request.getResponseHeader("X-Model")} ${request.getResponseHeader("X-Model-Version")}`;
}

export function formOf(field, file, options) {
  const form = new FormData();
  form.append(field, file, file.name);
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  return form;
}

/** Sends a request; asks for a key if needed. @returns {Promise<XMLHttpRequest>} successful */
export async function send(method, address, options = {}) {
  const { form, headers, signal, onProgress } = options;
  const over = new AbortController();
  const request = new XMLHttpRequest(); // fetch has no progress events for uploads
  request.open(method, address);
  request.responseType = "blob";
  const all = Object.entries({ ...headers, ...keyHeaders() });
  for (const [name, value] of all) request.setRequestHeader(name, value);
  if (onProgress) watch(request, onProgress);
  await new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    request.onload = resolve;
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => request.abort(), { signal: over.signal });
    request.send(form);
  }).finally(() => over.abort());
  if (request.status < 300) return request;
  const message = messageIn(await request.response.text());
  const refusal = new Refusal(request.status, message, request.getResponseHeader("Retry-After"));
  if (await askForKey(refusal)) return send(method, address, options);
  throw refusal;
}

function watch(request, onProgress) {
  request.upload.onprogress = (e) => onProgress({ stage: "uploading", done: e.loaded, of: e.total });
  request.upload.onload = () => onProgress({ stage: "computing" });
  request.onprogress = (e) =>
    onProgress({ stage: "downloading", done: e.loaded, of: e.lengthComputable ? e.total : null });
}

function messageIn(body) {
  try {
    return String(JSON.parse(body).message ?? "");
  } catch {
    return "";
  }
}

/** Returns the consistency in a PNG that was sent while it was encoded: it is at the end. */
async function consistencyInside(blob) {
  const tail = await blob.slice(-TAIL_BYTES).arrayBuffer();
  return CONSISTENCY.exec(new TextDecoder("latin1").decode(tail))?.[1] ?? "";
}
