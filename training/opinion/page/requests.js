/** Requests to the server of the trial. */

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0 if the server cannot be reached
  }
}

const pictures = new Map(); // question or example -> promise of its decoded pictures

let code = "";

/** Sets the code of the rater. Pictures that were loaded for another rater are forgotten. */
export function setCode(value) {
  code = value;
  for (const path of [...pictures.keys()]) void forgetPictures(path);
}

export async function request(method, path, body) {
  const response = await send(method, path, body);
  return response.status === 204 ? null : response.json();
}

async function send(method, path, body) {
  const headers = { "X-Rater-Code": code };
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Failure(0, "");
  }
  if (response.ok) return response;
  const { message } = await response.json().catch(() => ({}));
  throw new Failure(response.status, message ?? response.statusText);
}

/** Returns all pictures of a question, decoded; those loaded ahead are not loaded again. */
export function loadPictures(path, parts) {
  if (!pictures.has(path)) {
    const loading = Promise.all(Array.from({ length: parts }, (_, part) => load(`${path}/${part}`)));
    loading.catch(() => pictures.delete(path));
    pictures.set(path, loading);
  }
  return pictures.get(path);
}

async function load(path) {
  const response = await send("GET", path);
  return createImageBitmap(await response.blob());
}

export async function forgetPictures(path) {
  const loading = pictures.get(path);
  pictures.delete(path);
  for (const bitmap of (await loading?.catch(() => [])) ?? []) bitmap.close();
}
