/** Where the parts meet. */

import { byId, on, say, write } from "./dom.js";
import "./intake.js";
import { findJobs } from "./jobs.js";
import { showPanel, wishFor } from "./panel.js";
import { newPicture } from "./picture.js";
import { OFFLINE, problemBefore, problemOf } from "./problems.js";
import { showProblem, showProgress } from "./progress.js";
import { cancel, hurry, put } from "./queue.js";
import { add, pictures, select, selected, update } from "./roll.js";
import { loadMetadata } from "./service.js";
import { showView } from "./viewer.js";
import { bytes, pixels, seconds } from "./wording.js";

const TICK_MS = 500;

let metadata = null; // until the service told

async function take(files) {
  tellNotice("");
  await met; // what is a job is known by then
  for (const file of files) {
    const picture = await newPicture(file);
    add(picture);
    if (file === files[0]) select(picture);
    begin(picture);
  }
}

function begin(picture) {
  picture.isClip = picture.kind !== "picture" && Boolean(metadata?.jobs);
  picture.wish = wishFor(picture.isClip);
  picture.problem = problemBefore(picture, metadata);
  if (!picture.problem) return put(picture);
  picture.stage = "failed";
  changed(picture);
}

function changed(picture) {
  update(picture);
  if (picture === selected) show(picture);
}

function choose(picture) {
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
  showPanel(picture, metadata);
  showView(picture, metadata?.weights.scale);
}

function tellNotice(message) {
  write("notice", message);
  byId("notice").hidden = !message;
}

async function meet() {
  try {
    metadata = await loadMetadata();
  } catch (error) {
    const { title, advice, told } = problemOf(error);
    return tellNotice(`${title} ${advice} ${told}`);
  }
  const { description, jobs, limits, weights } = metadata;
  write("told-limits", say("limits-pictures", inWords(limits)));
  write("told-clips", jobs ? say("limits-clips", inWords(jobs)) : say("limits-no-clips"));
  write("about-model", say("model", { ...weights, description }));
  if (jobs) void resume();
}

function inWords(limits) {
  return {
    ...limits,
    formats: limits.formats.join(", "),
    pixels: pixels(limits.max_pixels),
    bytes: bytes(limits.max_upload_bytes),
    time: seconds(1000 * limits.max_seconds),
  };
}

async function resume() {
  for (const { id, name } of await findJobs()) {
    const picture = await newPicture(new File([], name), id);
    picture.wish = wishFor(true);
    add(picture);
    if (!selected) select(picture);
    put(picture);
  }
}

async function again(picture) {
  if (!metadata) await meet();
  if (picture.job) put(picture);
  else begin(picture);
}

async function goOn() {
  tellNotice("");
  if (!metadata) await meet();
  hurry();
  for (const picture of pictures()) if (picture.problem === OFFLINE) await again(picture);
}

Object.assign(on, { files: take, notice: tellNotice, select: choose, step: changed });
byId("cancel").onclick = () => cancel(selected);
byId("now").onclick = hurry;
byId("retry").onclick = () => again(selected);
addEventListener("offline", () => tellNotice(`${OFFLINE.title} ${OFFLINE.advice}`));
addEventListener("online", goOn);
setInterval(() => showProgress(selected), TICK_MS);
const met = meet();
