/** Where the parts meet. */

import { byId } from "./dom.js";
import { listenForFiles } from "./intake.js";
import { askForKey } from "./key.js";
import { Panel } from "./panel.js";
import { newPicture } from "./picture.js";
import { offline, problemBefore, problemOf } from "./problems.js";
import { briefly, showProblem, showProgress } from "./progress.js";
import { Queue } from "./queue.js";
import { Roll } from "./roll.js";
import { Refusal, loadMetadata } from "./service.js";
import { Viewer, madeSmall } from "./viewer.js";
import { bytes, pixels, size } from "./wording.js";

const TICK_MS = 500;
const UNAUTHORIZED = 401;

const canvas = byId("canvas");

/** @type {any} what the service says about itself; null until it did */
let metadata = null;
let hasPixels = false;

const viewer = new Viewer(byId("view"), canvas, byId("lens"), byId("seen"), byId("divider"), showZoom);
const queue = new Queue(changed);
const roll = new Roll(choose, (picture) => queue.cancel(picture));
const panel = new Panel((picture) => queue.put(picture));

/** @param {File[]} files */
async function take(files) {
  tellNotice("");
  for (const file of files) {
    const picture = await newPicture(file, panel.detail);
    roll.add(picture);
    if (file === files[0]) roll.select(picture);
    begin(picture);
  }
}

/** @param {Picture} picture */
function begin(picture) {
  const { before } = picture;
  const dimensions = before && { width: before.naturalWidth, height: before.naturalHeight };
  picture.problem = problemBefore(picture.file, dimensions, metadata?.limits ?? null);
  if (!picture.problem) return queue.put(picture);
  picture.stage = "failed";
  changed(picture);
}

/** @param {Picture} picture */
function changed(picture) {
  roll.update(picture);
  announce(picture);
  if (picture === roll.selected) show(picture);
}

/** @param {Picture|null} picture */
function choose(picture) {
  show(picture);
  byId("stage").scrollIntoView({ block: "nearest" });
}

/** @param {Picture|null} picture */
function show(picture) {
  byId("prompt").hidden = picture !== null;
  byId("tools").hidden = !picture?.after;
  byId("bench").toggleAttribute("data-result", Boolean(picture?.answer));
  showProgress(picture);
  showProblem(picture);
  panel.show(picture);
  showPicture(picture);
}

/** @param {Picture|null} picture */
function showPicture(picture) {
  const image = picture?.after ?? picture?.before;
  byId("view").hidden = !image;
  if (!picture || !image) return;
  const scale = metadata?.weights.scale ?? 4;
  const { before, after } = picture;
  const grown = after ? 1 : scale;
  const result = { width: grown * image.naturalWidth, height: grown * image.naturalHeight };
  viewer.show(before ?? (after && madeSmall(after, scale)), after, result);
  byId("tag-after").textContent = `${scale}×`;
  byId("tag-before").textContent = before ? `your picture, ${hasPixels ? "pixels" : "smooth"}` : "result, made small again";
  canvas.setAttribute("aria-label", describe(picture, result));
}

/** @param {Picture} picture @param {{width: number, height: number}} result @returns {string} */
function describe(picture, { width, height }) {
  const { name } = picture.file;
  return picture.after ? `${name}: your picture left of the divider, the result right of it, ${size(width, height)} pixels` : name;
}

/** @type {WeakMap<Picture, string>} */
const announced = new WeakMap();

/** Tell screen readers each stage once, and no numbers that run. */
function announce(/** @type {Picture} */ picture) {
  if (announced.get(picture) === picture.stage || !roll.pictures.includes(picture)) return;
  announced.set(picture, picture.stage);
  byId("status").textContent = `${picture.file.name}: ${briefly(picture)}`;
}

function showZoom() {
  byId("zoom").textContent = `${Math.round(100 * viewer.zoom)} %`;
  byId("loupe").setAttribute("aria-pressed", String(viewer.hasLoupe));
  for (const button of document.querySelectorAll("[data-zoom][aria-pressed]")) {
    const { zoom } = /** @type {HTMLElement} */ (button).dataset;
    const isOn = zoom === "fit" ? viewer.isFit : !viewer.isFit && viewer.zoom === Number(zoom);
    button.setAttribute("aria-pressed", String(isOn));
  }
}

/** @param {string} how */
function zoom(how) {
  if (how === "in") viewer.zoomIn();
  else if (how === "out") viewer.zoomOut();
  else if (how === "fit") viewer.fit();
  else viewer.zoomTo(Number(how));
}

/** @param {string} base */
function chooseBase(base) {
  hasPixels = base === "pixels";
  viewer.showPixels(hasPixels);
  for (const button of document.querySelectorAll("[data-base]")) {
    const isOn = /** @type {HTMLElement} */ (button).dataset.base === base;
    button.setAttribute("aria-pressed", String(isOn));
  }
  showPicture(roll.selected);
}

/** @param {string} message empty for none */
function tellNotice(message) {
  byId("notice").textContent = message;
  byId("notice").hidden = !message;
}

async function meet() {
  try {
    metadata = await loadMetadata();
  } catch (error) {
    if (error instanceof Refusal && error.status === UNAUTHORIZED && (await askForKey(error.message))) return meet();
    const { title, advice, told } = problemOf(error);
    return tellNotice(`${title} ${advice} ${told}`);
  }
  const { limits, weights } = metadata;
  panel.adapt(metadata);
  byId("told-limits").textContent =
    `${limits.formats.join(", ")}. Up to ${pixels(limits.max_pixels)}, ` +
    `${limits.max_side} pixels a side, ${bytes(limits.max_upload_bytes)}.`;
  byId("about-model").textContent =
    `The model is ${weights.name} ${weights.version}. ${metadata.description}`;
}

function goOn() {
  tellNotice("");
  if (!metadata) void meet();
  queue.hurry();
  for (const picture of roll.pictures) {
    if (picture.stage === "failed" && picture.problem?.title === offline().title) queue.put(picture);
  }
}

function listen() {
  listenForFiles((files) => void take(files), tellNotice);
  byId("cancel").addEventListener("click", () => roll.selected && queue.cancel(roll.selected));
  byId("now").addEventListener("click", () => queue.hurry());
  byId("retry").addEventListener("click", () => roll.selected && queue.put(roll.selected));
  byId("loupe").addEventListener("click", () => viewer.toggleLoupe());
  byId("tools").addEventListener("click", (/** @type {Event} */ e) => {
    const { dataset } = /** @type {HTMLElement} */ (e.target);
    if (dataset.zoom) zoom(dataset.zoom);
    if (dataset.base) chooseBase(dataset.base);
  });
  addEventListener("offline", () => tellNotice(`${offline().title} ${offline().advice}`));
  addEventListener("online", goOn);
  setInterval(() => showProgress(roll.selected), TICK_MS);
}

listen();
void meet();
