/** Saves the result: as it is, or upscaled again in another format. */

import { byId, newElement, on, say, write } from "./dom.js";
import { runJob } from "./jobs.js";
import { problemOf } from "./problems.js";
import { briefly, reportWords } from "./progress.js";
import { modelFor, usableModels } from "./model.js";
import { upscale } from "./service.js";
import { sizeName } from "./size.js";
import { bytes } from "./wording.js";

const KEPT_MS = 60_000; // until the browser has asked where to save
const EXTENSIONS = { jpeg: "jpg", apng: "png" };
const VIDEOS = ["mp4", "mov", "webm", "mkv"];
const MOVING = ["gif", "apng", "webp", ...VIDEOS];

const format = byId("format");
const quality = byId("quality");
const pictureFormats = [...format.options];

let picture = null;
let metadata = null;
let control = null; // of the current request

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

/** Returns the options of the file to save. The first format is that of the result. */
export function optionsToSave() {
  const { options } = picture.answer;
  if (!format.selectedIndex) return options;
  const chosen = { ...options, format: format.value };
  return quality.disabled ? chosen : { ...chosen, quality: Number(quality.value) };
}

/** Returns the name of the file to save. The service names the results of jobs. */
export function nameToSave() {
  const { file, answer: { job, options } } = picture;
  const extension = EXTENSIONS[format.value] ?? format.value;
  const model = modelFor(options, metadata);
  const other = model === usableModels(metadata)[0] ? "" : `_${model.name}`;
  if (!job) return `${stem(file.name)}${other}_${sizeName(options, model.scale)}.${extension}`;
  const { name } = job.result;
  return format.selectedIndex && job.kind !== "pictures" ? `${stem(name)}.${extension}` : name;
}

export function showSave(shown, loaded) {
  metadata = loaded;
  if (shown !== picture) {
    control?.abort();
    picture = shown;
    format.replaceChildren(...formats(shown));
    format.selectedIndex = 0;
    chooseFormat();
  }
  writeLabel();
}

/** Returns the formats to choose from. A restored job has no file to upscale again. */
function formats({ file, answer: { job } }) {
  const count = file.size ? pictureFormats.length : 1;
  if (!job || job.kind === "pictures") return pictureFormats.slice(0, count);
  const extension = job.result.name.split(".").at(-1);
  const own = extension === "png" ? "apng" : extension;
  const able = job.kind === "video" ? VIDEOS : MOVING;
  const all = metadata.jobs.output_formats.filter((name) => able.includes(name) && file.size);
  return [...new Set([own, ...all])].map((value) => newElement("option", { value }, value.toUpperCase()));
}

function chooseFormat() {
  const { quality: suggested } = format.selectedOptions[0].dataset;
  byId("quality-field").hidden = quality.disabled = !suggested;
  if (suggested) quality.value = suggested;
  showNote("");
  writeLabel();
}

function writeLabel() {
  write("save-button", control ? say("stop") : say("save", { name: nameToSave() }));
}

async function save({ file, answer, isClip }) {
  const [name, options] = [nameToSave(), optionsToSave()];
  if (!format.selectedIndex) return download(answer.blob, name);
  const { signal } = (control = new AbortController());
  writeLabel();
  try {
    const run = isClip ? runJob : upscale;
    const { blob, alpha, job } = await run({ file }, options, signal, showProgressNote);
    download(blob, job?.result.name ?? name);
    showNote(`${bytes(blob.size)}. ${alpha && say("alpha", { alpha })}`);
  } catch (error) {
    showNote(signal.aborted ? say("cancelled") : explain(error));
  } finally {
    control.abort(); // deletes the job, whose result is here
    control = null;
    writeLabel();
  }
}

function showProgressNote({ stage, report }) {
  showNote(report ? reportWords(report) : `${briefly({ stage })} …`);
}

function showNote(text) {
  write("save-note", text);
}

function explain(error) {
  const { title, advice, message, retryAfterS } = problemOf(error);
  const next = retryAfterS === null ? advice : say("again", { left: retryAfterS });
  return [title, next, message].filter(Boolean).join(" ");
}

function download(blob, filename) {
  const link = newElement("a", { href: URL.createObjectURL(blob), download: filename });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

function stem(filename) {
  return filename.replace(/\.[^.]+$/, "") || filename;
}
