/** Pictures and clips: what they are, and whether the browser can show them. */

import { newElement } from "./dom.js";

const FINAL_STAGES = ["done", "cancelled", "failed"];

const FIRST_BYTES = 2 ** 20; // of a file, in which an animation can be recognised
const VIDEO = /\.(mp4|m4v|mov|webm|mkv)$/i;
const ARCHIVE = /\.zip$/i;
const ANIMATIONS = [
  /^.PNG[^]*acTL/,
  /^RIFF[^]{4}WEBP[^]*ANIM/,
];

const GIF_IMAGE = 0x2c;
const GIF_EXTENSION = 0x21;

let count = 0;

/** Returns a picture of a file, or of a job if it is restored. @returns {Promise<Picture>} */
export async function newPicture(file, job = null) {
  count += 1;
  const kind = await kindOf(file);
  const before = job ? null : await showable(file);
  return {
    number: count,
    file,
    job,
    kind,
    isClip: job !== null,
    options: {},
    stage: "waiting",
    progress: {},
    before,
    size: before && sizeOf(before),
    estimate: null,
    after: null,
    other: null,
    answer: null,
    problem: null,
    control: new AbortController(),
  };
}

async function kindOf(file) {
  if (VIDEO.test(file.name) || file.type.startsWith("video/")) return "video";
  if (ARCHIVE.test(file.name)) return "archive";
  const head = await file.slice(0, FIRST_BYTES).arrayBuffer();
  const text = new TextDecoder("latin1").decode(head);
  const moves = ANIMATIONS.some((pattern) => pattern.test(text)) || isMovingGif(new Uint8Array(head));
  return moves ? "animation" : "picture";
}

/** Returns whether the beginning of a file is that of a GIF of two frames or more. */
function isMovingGif(bytes) {
  if (!/^GIF8[79]a/.test(String.fromCharCode(...bytes.subarray(0, 6)))) return false;
  const colours = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + colours(bytes[10]);
  for (let frames = 0; at < bytes.length;) {
    if (bytes[at] === GIF_IMAGE) {
      frames += 1;
      if (frames === 2) return true;
      at += 11 + colours(bytes[at + 9]);
    } else if (bytes[at] === GIF_EXTENSION) at += 2;
    else return false;
    while (bytes[at]) at += bytes[at] + 1; // blocks of data; an empty one ends them
    at += 1;
  }
  return false;
}

/** Returns an element that shows the file; null if the browser cannot show it. */
export async function showable(blob) {
  const isVideo = blob.type.startsWith("video/") || VIDEO.test(blob.name);
  const properties = { muted: true, loop: true, playsInline: true, preload: "auto" };
  const image = isVideo ? newElement("video", properties) : new Image();
  image.src = URL.createObjectURL(blob);
  const { type } = await new Promise((resolve) => {
    image.onload = image.onloadedmetadata = image.onerror = resolve;
  });
  if (type !== "error") return image;
  release(image);
  return null;
}

export function sizeOf(image) {
  const { naturalWidth, naturalHeight, videoWidth: width, videoHeight: height } = image;
  return { width: naturalWidth ?? width, height: naturalHeight ?? height };
}

/** Returns the size that the service reports, such as "24x16"; null without one. */
export function sizeFrom(reported) {
  if (!reported) return null;
  const [width, height] = reported.split("x").map(Number);
  return { width, height };
}

export function isActive(picture) {
  return Boolean(picture) && !FINAL_STAGES.includes(picture.stage);
}

export function release(image) {
  if (image) URL.revokeObjectURL(image.src);
}
