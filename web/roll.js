/** The list of all pictures of this visit. One of them is selected. */

import { dropOther } from "./compare.js";
import { byId, newElement, on, say, write } from "./dom.js";
import { release } from "./picture.js";
import { briefly } from "./progress.js";
import { cancel } from "./queue.js";

const list = byId("frames");
const section = byId("roll");
const frames = new Map(); // elements by picture

export let selected = null; // the picture in the view

export function pictures() {
  return [...frames.keys()];
}

export function add(picture) {
  const frame = newFrame(picture);
  frames.set(picture, frame);
  list.append(frame);
  section.hidden = false;
}

export function select(picture) {
  selected = picture;
  for (const [other, frame] of frames) {
    frame.firstElementChild.setAttribute("aria-current", other === picture);
  }
  on.select(picture);
}

/** Shows a new stage. Screen readers announce each stage once, without changing numbers. */
export function update(picture) {
  const frame = frames.get(picture);
  if (!frame || frame.dataset.stage === picture.stage) return;
  frame.dataset.stage = picture.stage;
  frame.querySelector(".state").textContent = briefly(picture);
  write("status", `${picture.file.name}: ${briefly(picture)}`);
}

function remove(picture) {
  const index = pictures().indexOf(picture);
  frames.get(picture).remove();
  frames.delete(picture);
  cancel(picture);
  release(picture.before);
  release(picture.after);
  dropOther(picture);
  section.hidden = frames.size === 0;
  const nearest = pictures()[index] ?? pictures().at(-1) ?? null;
  if (picture === selected) select(nearest);
  (frames.get(nearest)?.firstElementChild ?? byId("choose")).focus();
}

function newFrame(picture) {
  const { name } = picture.file;
  const edge = { className: "edge", textContent: `${picture.number} ${name}`, title: name };
  const show = newElement("button", { className: "frame" },
    thumbnail(picture), newElement("span", edge), newElement("span", { className: "state" }));
  show.onclick = () => select(picture);
  const cross = newElement("button", { className: "remove", ariaLabel: say("remove", { name }) }, "×");
  cross.onclick = () => remove(picture);
  return newElement("li", {}, show, cross);
}

/** Returns a thumbnail; for clips only the file type, because a clip would play all the time. */
function thumbnail({ before, kind, file }) {
  if (before && kind === "picture") return newElement("img", { src: before.src, alt: "" });
  return newElement("span", { className: "kind" }, file.name.split(".").at(-1).slice(0, 5));
}
