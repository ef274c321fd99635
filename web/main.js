/** Where the parts meet. */

import { byId, write } from "./dom.js";
import { listenForFiles } from "./intake.js";
import { askForKey } from "./key.js";
import { Panel } from "./panel.js";
import { newPicture } from "./picture.js";
import { OFFLINE, problemBefore, problemOf } from "./problems.js";
import { showProblem, showProgress } from "./progress.js";
import { Queue } from "./queue.js";
import { Roll } from "./roll.js";
import { loadMetadata } from "./service.js";
import { Viewer, madeSmall } from "./viewer.js";
import { bytes, pixels, size } from "./wording.js";

const TICK_MS = 500;

/** @type {Metadata|null} null until the service told */
let metadata = null;

const viewer = new Viewer(showZoom);
const queue = new Queue(changed);
const roll = new Roll(choose, (picture) => queue.cancel(picture));
const panel = new Panel((picture) => queue.put(picture));

async function take(files) {
  tellNotice("");
  for (const file of files) {
    const picture = await newPicture(file, panel.detail);
    roll.add(picture);
    if (file === files[0]) roll.select(picture);
    begin(picture);
  }
}

function begin(picture) {
  picture.problem = problemBefore(picture.file, picture.before, metadata?.limits);
  if (!picture.problem) return queue.put(picture);
  picture.stage = "failed";
  changed(picture);
}

function changed(picture) {
  roll.update(picture);
  if (picture === roll.selected) show(picture);
}

function choose(picture) {
  show(picture);
  byId("stage").scrollIntoView({ block: "nearest" });
}

function show(picture) {
  byId("prompt").hidden = picture !== null;
  byId("tools").hidden = !picture?.after;
  byId("bench").toggleAttribute("data-result", Boolean(picture?.answer));
  showProgress(picture);
  showProblem(picture);
  panel.show(picture);
  showPicture(picture);
}

function showPicture(picture) {
  const image = picture?.after ?? picture?.before;
  byId("view").hidden = !image;
  if (!image) return;
  const { before, after, file } = picture;
  const scale = metadata?.weights.scale ?? 4;
  const grown = after ? 1 : scale;
  const result = { width: grown * image.width, height: grown * image.height };
  viewer.show(before ?? madeSmall(after, scale), after, result);
  write("tag-after", `${scale}×`);
  write("tag-before", before ? `your picture, ${viewer.hasPixels ? "pixels" : "smooth"}` : "result, made small again");
  const sides = `your picture left of the divider, the result right of it, ${size(result)} pixels`;
  byId("canvas").setAttribute("aria-label", after ? `${file.name}: ${sides}` : file.name);
}

function showZoom() {
  write("zoom", `${Math.round(100 * viewer.zoom)} %`);
  byId("loupe").setAttribute("aria-pressed", viewer.hasLoupe);
  markPressed("zoom", viewer.isFit ? "fit" : String(viewer.zoom));
}

/** Of the buttons with that `data-`, the one that has the value is pressed. */
function markPressed(name, value) {
  for (const button of document.querySelectorAll(`[data-${name}][aria-pressed]`)) {
    button.setAttribute("aria-pressed", String(button.getAttribute(`data-${name}`) === value));
  }
}

function chooseBase(base) {
  viewer.hasPixels = base === "pixels";
  markPressed("base", base);
  showPicture(roll.selected);
}

/** An empty message takes the notice away. */
function tellNotice(message) {
  write("notice", message);
  byId("notice").hidden = !message;
}

async function meet() {
  try {
    metadata = await loadMetadata();
  } catch (error) {
    if (await askForKey(error)) return meet();
    const { title, advice, told } = problemOf(error);
    return tellNotice(`${title} ${advice} ${told}`);
  }
  const { description, limits, weights } = metadata;
  panel.adapt(metadata);
  write("told-limits", `${limits.formats.join(", ")}. Up to ${pixels(limits.max_pixels)}, ` +
    `${limits.max_side} pixels a side, ${bytes(limits.max_upload_bytes)}.`);
  write("about-model", `The model is ${weights.name} ${weights.version}. ${description}`);
}

function goOn() {
  tellNotice("");
  if (!metadata) void meet();
  queue.hurry();
  for (const picture of roll.pictures) if (picture.problem === OFFLINE) queue.put(picture);
}

listenForFiles(take, tellNotice);
byId("cancel").onclick = () => queue.cancel(roll.selected);
byId("now").onclick = () => queue.hurry();
byId("retry").onclick = () => queue.put(roll.selected);
byId("loupe").onclick = () => viewer.toggleLoupe();
byId("tools").onclick = ({ target: { dataset } }) => {
  if (dataset.zoom) viewer.zoomAs(dataset.zoom);
  if (dataset.base) chooseBase(dataset.base);
};
addEventListener("offline", () => tellNotice(`${OFFLINE.title} ${OFFLINE.advice}`));
addEventListener("online", goOn);
setInterval(() => showProgress(roll.selected), TICK_MS);
void meet();
