/** Saving the result: as it is, or once more from the service in another format. */

import { byId, newElement, on, say, write } from "./dom.js";
import { runJob } from "./jobs.js";
import { problemOf } from "./problems.js";
import { briefly, placeWords } from "./progress.js";
import { upscale } from "./service.js";
import { bytes } from "./wording.js";

const KEPT_MS = 60_000; // for the browser, which may ask where to, first
const EXTENSIONS = { jpeg: "jpg", apng: "png" };
const VIDEOS = ["mp4", "mov", "webm", "mkv"];
const MOVING = ["gif", "apng", "webp", ...VIDEOS];

const format = byId("format");
const quality = byId("quality");
const stills = [...format.options];

let picture = null;
let metadata = null;
let control = null; // of the request under way

format.onchange = () => {
  chooseFormat();
  on.format();
};
quality.oninput = () => on.format();
byId("save").onsubmit = (e) => {
  e.preventDefault();
  if (control) control.abort();
  else void save(picture);
};

/** The first format is that of the result. */
export function wishToSave() {
  const { wish } = picture.answer;
  if (!format.selectedIndex) return wish;
  const chosen = { ...wish, format: format.value };
  return quality.disabled ? chosen : { ...chosen, quality: Number(quality.value) };
}

/** What jobs make is named by the service. */
export function nameToSave() {
  const { file, answer: { job } } = picture;
  const extension = EXTENSIONS[format.value] ?? format.value;
  if (!job) return `${stem(file.name)}_${metadata.weights.scale}x.${extension}`;
  const { name } = job.result;
  return format.selectedIndex && job.kind !== "pictures" ? `${stem(name)}.${extension}` : name;
}

export function showSave(shown, told) {
  metadata = told;
  if (shown !== picture) {
    control?.abort();
    picture = shown;
    format.replaceChildren(...formats(shown));
    format.selectedIndex = 0;
    chooseFormat();
  }
  label();
}

/** A job that was found again has no file to be made into something else. */
function formats({ file, answer: { job } }) {
  if (!job || job.kind === "pictures") return stills.slice(0, file.size ? stills.length : 1);
  const extension = job.result.name.split(".").at(-1);
  const own = extension === "png" ? "apng" : extension;
  const able = job.kind === "video" ? VIDEOS : MOVING;
  const all = metadata.jobs.output_formats.filter((name) => able.includes(name) && file.size);
  return [...new Set([own, ...all])].map((value) => newElement("option", { value }, value.toUpperCase()));
}

function chooseFormat() {
  const { quality: usual } = format.selectedOptions[0].dataset;
  byId("quality-field").hidden = quality.disabled = !usual;
  if (usual) quality.value = usual;
  note("");
  label();
}

function label() {
  write("save-button", control ? say("stop") : say("save", { name: nameToSave() }));
}

async function save({ file, answer, isClip }) {
  const [name, wish] = [nameToSave(), wishToSave()];
  if (!format.selectedIndex) return download(answer.blob, name);
  const { signal } = (control = new AbortController());
  label();
  try {
    const { blob, alpha, job } = await (isClip ? runJob : upscale)({ file }, wish, signal, tell);
    download(blob, job?.result.name ?? name);
    note(`${bytes(blob.size)}. ${alpha && say("alpha", { alpha })}`);
  } catch (error) {
    note(signal.aborted ? say("cancelled") : explain(error));
  } finally {
    control.abort(); // what a job has made is here
    control = null;
    label();
  }
}

function tell({ stage, place }) {
  note(place ? placeWords(place) : `${briefly({ stage })} …`);
}

function note(text) {
  write("save-note", text);
}

function explain(error) {
  const { title, advice, told, retryAfterS } = problemOf(error);
  const next = retryAfterS === null ? advice : say("again", { left: retryAfterS });
  return [title, next, told].filter(Boolean).join(" ");
}

function download(blob, filename) {
  const link = newElement("a", { href: URL.createObjectURL(blob), download: filename });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

function stem(filename) {
  return filename.replace(/\.[^.]+$/, "") || filename;
}
