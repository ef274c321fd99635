/** The film: all pictures of this visit, of which one is shown. */

import { byId, newElement, write } from "./dom.js";
import { release } from "./picture.js";
import { briefly } from "./progress.js";

const list = byId("frames");
const film = byId("roll");

export class Roll {
  #frames = new Map(); // elements, by picture
  selected = null; // the picture that is shown

  constructor(onSelect, onRemove) {
    this.onSelect = onSelect;
    this.onRemove = onRemove;
  }

  get pictures() {
    return [...this.#frames.keys()];
  }

  add(picture) {
    const frame = this.#newFrame(picture);
    this.#frames.set(picture, frame);
    list.append(frame);
    film.hidden = false;
  }

  select(picture) {
    this.selected = picture;
    for (const [other, frame] of this.#frames) {
      frame.firstElementChild.setAttribute("aria-current", other === picture);
    }
    this.onSelect(picture);
  }

  /** Show the stage of a picture; screen readers are told each once, and no numbers that run. */
  update(picture) {
    const frame = this.#frames.get(picture);
    if (!frame || frame.dataset.stage === picture.stage) return;
    frame.dataset.stage = picture.stage;
    frame.querySelector(".state").textContent = briefly(picture);
    write("status", `${picture.file.name}: ${briefly(picture)}`);
  }

  remove(picture) {
    const place = this.pictures.indexOf(picture);
    this.#frames.get(picture).remove();
    this.#frames.delete(picture);
    this.onRemove(picture);
    release(picture.before);
    release(picture.after);
    film.hidden = this.#frames.size === 0;
    const nearest = this.pictures[place] ?? this.pictures.at(-1) ?? null;
    if (picture === this.selected) this.select(nearest);
    (this.#frames.get(nearest)?.firstElementChild ?? byId("choose")).focus();
  }

  #newFrame(picture) {
    const { name } = picture.file;
    const edge = { className: "edge", textContent: `${picture.number} ${name}`, title: name };
    const show = newElement("button", { className: "frame" },
      thumbnail(picture), newElement("span", edge), newElement("span", { className: "state" }));
    show.onclick = () => this.select(picture);
    const remove = newElement("button", { className: "remove" }, "×");
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.onclick = () => this.remove(picture);
    return newElement("li", {}, show, remove);
  }
}

function thumbnail({ before, file }) {
  if (before) return newElement("img", { src: before.src, alt: "" });
  return newElement("span", { className: "kind" }, file.name.split(".").at(-1).slice(0, 5));
}
