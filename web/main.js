/** Connects the modules: files become pictures, pictures are shown as they change. */

import { chosenModel, chosenSize, showChoices, showOffers } from "./chooser.js";
import { dropOther } from "./compare.js";
import { byId, on, say, write } from "./dom.js";
import { addEstimate, addTimes, findSize } from "./estimates.js";
import "./intake.js";
import { findJobs } from "./jobs.js";
import { modelFor, withModel } from "./model.js";
import { optionsFor, setRestore, showPanel } from "./panel.js";
import { newPicture } from "./picture.js";
import { OFFLINE, problemBefore, problemOf } from "./problems.js";
import { showProblem, showProgress } from "./progress.js";
import { cancel, enqueue, retryNow } from "./queue.js";
import { add, pictures, select, selected, update } from "./roll.js";
import { loadMetadata } from "./service.js";
import { resultGrid, withSize } from "./size.js";
import { showView } from "./viewer.js";
import { bytes, pixels, seconds } from "./wording.js";

const TICK_MS = 500;
const DEBOUNCE_MS = 400; // after size or model were changed: only the last choice is sent

let metadata = null; // until the service answers
let timer = 0;

async function addFiles(files) {
  showNotice("");
  await serviceLoaded; // then it is known which files become jobs
  for (const file of files) {
    const picture = await newPicture(file);
    setOptions(picture);
    add(picture);
    if (file === files[0]) select(picture);
    void begin(picture);
  }
}

async function begin(picture) {
  const { signal } = picture.control;
  picture.size ??= await findSize(picture);
  if (!signal.aborted) start(picture);
}

function setOptions(picture) {
  picture.isClip = picture.kind !== "picture" && Boolean(metadata?.jobs);
  const options = withSize({ ...optionsFor(picture.isClip), model: chosenModel() }, chosenSize());
  picture.options = metadata ? withModel(options, chosenModel(), metadata) : options;
}

function start(picture) {
  picture.problem = problemBefore(picture, metadata);
  if (picture.problem) return refuse(picture);
  enqueue(picture);
  if (!picture.size) return;
  const model = modelFor(picture.options, metadata);
  void addEstimate(picture, resultGrid(picture.options, picture, model.scale), model);
}

function refuse(picture) {
  picture.stage = "failed";
  showChange(picture);
  if (picture.problem.offers) void addTimes(picture);
}

/** Upscales a picture in another size, unless yet another one follows at once. */
function changeSize(picture) {
  change(picture, withSize(picture.options, chosenSize()));
}

/** Chooses another model, for a picture if there is one, and for those that come. */
function changeModel(picture, before) {
  const options = picture?.options ?? { ...optionsFor(false), model: before };
  const next = withModel(options, chosenModel(), metadata);
  setRestore(next.restore);
  if (picture) change(picture, next);
}

function change(picture, options) {
  Object.assign(picture, { options, estimate: null });
  show(selected);
  clearTimeout(timer);
  timer = setTimeout(() => pictures().includes(picture) && start(picture), DEBOUNCE_MS);
}

/** Compares with something else. What is still being computed is stopped, what failed is repeated. */
function changeBase() {
  if (selected.other && !selected.other.image) dropOther(selected);
  show(selected);
}

function showChange(picture) {
  update(picture);
  if (picture === selected) show(picture);
}

function showSelected(picture) {
  show(picture);
  byId("stage").scrollIntoView({ block: "nearest" });
}

function show(picture) {
  byId("prompt").hidden = picture !== null;
  byId("tools").hidden = !picture?.after;
  byId("play").hidden = !picture?.isClip;
  byId("unshown").hidden = !picture?.answer || Boolean(picture.after);
  showProgress(picture);
  showProblem(picture);
  showOffers(picture);
  showChoices(picture, metadata);
  showPanel(picture, metadata);
  showView(picture, metadata);
}

function showNotice(message) {
  write("notice", message);
  byId("notice").hidden = !message;
}

async function loadService() {
  try {
    metadata = await loadMetadata();
  } catch (error) {
    const { title, advice, message } = problemOf(error);
    return showNotice(`${title} ${advice} ${message}`);
  }
  const { description, jobs, limits, weights } = metadata;
  setRestore(metadata.restore.default);
  show(selected);
  write("limits-of-pictures", say("limits-pictures", limitTexts(limits)));
  write("limits-of-clips", jobs ? say("limits-clips", limitTexts(jobs)) : say("limits-no-clips"));
  write("about-model", say("about", { ...weights, description }));
  if (jobs) void restoreJobs();
}

function limitTexts(limits) {
  return {
    ...limits,
    formats: limits.formats.join(", "),
    pixels: pixels(limits.max_pixels),
    bytes: bytes(limits.max_upload_bytes),
    time: seconds(1000 * limits.max_seconds),
  };
}

async function restoreJobs() {
  for (const { id, name } of await findJobs()) {
    const picture = await newPicture(new File([], name), id);
    picture.options = optionsFor(true);
    add(picture);
    if (!selected) select(picture);
    enqueue(picture);
  }
}

async function retry(picture) {
  if (!metadata) await loadService();
  if (picture.job) return enqueue(picture);
  setOptions(picture);
  start(picture);
}

async function continueOnline() {
  showNotice("");
  if (!metadata) await loadService();
  retryNow();
  for (const picture of pictures()) if (picture.problem === OFFLINE) await retry(picture);
}

Object.assign(on, {
  files: addFiles,
  notice: showNotice,
  select: showSelected,
  step: showChange,
  size: changeSize,
  model: changeModel,
  base: changeBase,
});
byId("cancel").onclick = () => cancel(selected);
byId("now").onclick = retryNow;
byId("retry").onclick = () => retry(selected);
addEventListener("offline", () => showNotice(`${OFFLINE.title} ${OFFLINE.advice}`));
addEventListener("online", continueOnline);
setInterval(() => showProgress(selected), TICK_MS);
const serviceLoaded = loadService();
