/** Requests to the service, and what it says about its answers. */

import { askForKey, keyHeaders } from "./key.js";

const MODEL = new URL("../model/", document.baseURI);
export const PREDICT = new URL("predict", MODEL);
export const JOBS = new URL("jobs", MODEL);
export const ASK_MS = 1000; // between questions how far it is

const TAIL_BYTES = 512; // of a PNG: its last text, and its end
const COMPUTED = /\bupscale;dur=([\d.]+)/;
const CONSISTENCY = /Consistency-PSNR\0([\d.]+)/;

export class Refusal extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfterS = Math.max(1, Number.parseInt(retryAfter, 10)) || null;
  }
}

/** Nothing was answered, or not all. */
export class Unreachable extends Error {}

/** @returns {Promise<Metadata>} */
export async function loadMetadata() {
  return contentOf(await send("GET", new URL("metadata", MODEL)));
}

export async function contentOf({ response }) {
  return JSON.parse(await response.text());
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The signal ends the request itself. @returns {Promise<Answer>} */
export async function upscale({ file }, wish, signal, onProgress) {
  const started = performance.now();
  const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const over = new AbortController();
  const told = {};
  const tell = (news) => onProgress(Object.assign(told, news));
  const asking = AbortSignal.any([signal, over.signal]);
  const follow = (news) => {
    tell(news);
    if (news.stage === "computing") void tellPlace(id, asking, tell);
  };
  const options = { form: formOf("image", file, wish), headers: { "X-Request-Id": id } };
  const request = await send("POST", PREDICT, { ...options, signal, onProgress: follow })
    .finally(() => over.abort());
  const header = (name) => request.getResponseHeader(name) ?? "";
  return {
    blob: request.response,
    wish,
    elapsedMs: performance.now() - started,
    computedMs: Number(COMPUTED.exec(header("Server-Timing"))?.[1]),
    inputSize: header("X-Input-Size"),
    outputSize: header("X-Output-Size"),
    model: modelOf(request),
    consistencyDb: header("X-Consistency-PSNR") || (await consistencyInside(request.response)),
    alpha: header("X-Alpha"),
  };
}

/** Until it is not known: of several processes, one has the picture. */
async function tellPlace(id, signal, tell) {
  const address = new URL(`progress/${id}`, MODEL);
  for (;;) {
    await pause(ASK_MS);
    const request = await send("GET", address, { signal }).catch(() => null);
    if (!request) return;
    const place = await contentOf(request);
    if (!signal.aborted) tell({ place });
  }
}

export function modelOf(request) {
  return `${request.getResponseHeader("X-Model")} ${request.getResponseHeader("X-Model-Version")}`;
}

export function formOf(field, file, wish) {
  const form = new FormData();
  form.append(field, file, file.name);
  for (const [name, value] of Object.entries(wish)) form.append(name, value);
  return form;
}

/** Asks for a key if need be. @returns {Promise<XMLHttpRequest>} that got what it asked for */
export async function send(method, address, options = {}) {
  const { form, headers, signal, onProgress } = options;
  const over = new AbortController();
  const request = new XMLHttpRequest(); // fetch tells nothing of an upload
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

/** A PNG that is sent while it is made has the figure at its end. */
async function consistencyInside(blob) {
  const tail = await blob.slice(-TAIL_BYTES).arrayBuffer();
  return CONSISTENCY.exec(new TextDecoder("latin1").decode(tail))?.[1] ?? "";
}
