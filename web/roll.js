/** The film: all pictures of this visit, of which one is shown. */

import { byId } from "./dom.js";
import { release } from "./picture.js";
import { briefly } from "./progress.js";

const list = byId("frames");
const film = byId("roll");

export class Roll {
  /** @type {Map<Picture, HTMLElement>} */
  #frames = new Map();
  /** @type {Picture|null} */
  #selected = null;

  /**
   * @param {(picture: Picture|null) => void} onSelect
   * @param {(picture: Picture) => void} onRemove
   */
  constructor(onSelect, onRemove) {
    this.onSelect = onSelect;
    this.onRemove = onRemove;
  }

  /** The picture that is shown. */
  get selected() {
    return this.#selected;
  }

  /** @returns {Picture[]} */
  get pictures() {
    return [...this.#frames.keys()];
  }

  /** @param {Picture} picture */
  add(picture) {
    const frame = this.#newFrame(picture);
    this.#frames.set(picture, frame);
    list.append(frame);
    film.hidden = false;
  }

  /** @param {Picture|null} picture */
  select(picture) {
    this.#selected = picture;
    for (const [other, frame] of this.#frames) {
      if (other === picture) frame.firstElementChild?.setAttribute("aria-current", "true");
      else frame.firstElementChild?.removeAttribute("aria-current");
    }
    this.onSelect(picture);
  }

  /** @param {Picture} picture whose stage is another */
  update(picture) {
    const frame = this.#frames.get(picture);
    if (!frame) return;
    frame.dataset.stage = picture.stage;
    /** @type {HTMLElement} */ (frame.querySelector(".state")).textContent = briefly(picture);
  }

  /** @param {Picture} picture */
  remove(picture) {
    const next = this.#frames.get(picture)?.nextElementSibling;
    this.#frames.get(picture)?.remove();
    this.#frames.delete(picture);
    this.onRemove(picture);
    release(picture.before);
    release(picture.after);
    film.hidden = this.#frames.size === 0;
    const nearest = this.pictures.find((p) => this.#frames.get(p) === next) ?? this.pictures.at(-1) ?? null;
    if (picture === this.#selected) this.select(nearest);
    const target = nearest ? this.#frames.get(nearest)?.querySelector("button") : byId("choose");
    target?.focus();
  }

  /** @param {Picture} picture @returns {HTMLElement} */
  #newFrame(picture) {
    const frame = document.createElement("li");
    const show = document.createElement("button");
    show.type = "button";
    show.className = "frame";
    show.append(thumbnail(picture), edge(picture), Object.assign(document.createElement("span"), { className: "state" }));
    show.addEventListener("click", () => this.select(picture));
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "remove";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove ${picture.file.name}`);
    remove.addEventListener("click", () => this.remove(picture));
    frame.append(show, remove);
    return frame;
  }
}

/** @param {Picture} picture @returns {HTMLElement} */
function thumbnail({ before, file }) {
  if (before) return Object.assign(new Image(), { src: before.src, alt: "" });
  const kind = document.createElement("span");
  kind.className = "kind";
  kind.textContent = file.name.split(".").at(-1)?.slice(0, 5) ?? "";
  return kind;
}

/** @param {Picture} picture @returns {HTMLElement} number and name, as on the edge of a film */
function edge({ number, file }) {
  return Object.assign(document.createElement("span"), {
    className: "edge",
    textContent: `${number} ${file.name}`,
    title: file.name,
  });
}
