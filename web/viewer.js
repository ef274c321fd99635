/** The picture under the loupe: divider, zoom, pan; by mouse, touch and keyboard. */

import { byId, newElement } from "./dom.js";
import { MOST_ZOOM, clamp, fitZoom, inside, moved, place, settle, visible } from "./geometry.js";
import { paint, paintLoupe } from "./painter.js";

const ZOOM_STEP = Math.SQRT2;
const WHEEL_STEP = 0.01;
const MOVE_PX = 32; // of picture or loupe, by key

const ARROWS = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};
/** Shares of the divider's way. */
const DIVIDER_STEPS = {
  ArrowLeft: -0.01, ArrowRight: 0.01, ArrowUp: 0.01, ArrowDown: -0.01,
  PageUp: 0.1, PageDown: -0.1, Home: -1, End: 1,
};
const ZOOM_KEYS = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "1", 2: "2", 4: "4" };

const view = byId("view");
const layers = [byId("canvas"), byId("lens")]; // the loupe over everything else
const overlay = byId("seen"); // divider and tags, over the part of the picture that is in view
const divider = byId("divider");

export class Viewer {
  zoom = 1; // CSS pixels per pixel of the result; to be read only
  isFit = true;
  hasPixels = false; // squares instead of a smooth input, from the next `show` on

  #images = { before: null, after: null };
  #picture = { width: 1, height: 1 };
  #view = { width: 1, height: 1 };
  #centre = { x: 0, y: 0 };
  #split = 0.5;
  #loupeAt = null; // in the view
  #pointers = new Map(); // points, by identifier
  #drag = null; // "split", "pan", "loupe", or "pinch"
  #isDue = false;

  /** `onChange` is called after each change of zoom or loupe. */
  constructor(onChange) {
    this.onChange = onChange;
    new ResizeObserver(() => this.#resize()).observe(view);
    view.onpointerdown = (e) => this.#press(e);
    view.onpointermove = (e) => this.#move(e);
    view.onpointerup = view.onpointercancel = (e) => this.#lift(e);
    view.onwheel = (e) => this.#wheel(e);
    view.ondblclick = () => this.zoomAs(this.isFit ? "1" : "fit");
    view.onkeydown = (e) => this.#key(e);
  }

  get hasLoupe() {
    return this.#loupeAt !== null;
  }

  /** Either image may be null; the third is the size of the result. */
  show(before, after, picture) {
    const { width, height } = picture;
    const isOther = width !== this.#picture.width || height !== this.#picture.height;
    this.#images = { before, after };
    this.#picture = picture;
    overlay.hidden = !after;
    if (isOther) this.#centre = { x: width / 2, y: height / 2 };
    this.#update();
  }

  /** By a number, or "in", "out", "fit". */
  zoomAs(how) {
    const { zoom } = this;
    const zooms = { in: zoom * ZOOM_STEP, out: zoom / ZOOM_STEP, fit: zoom };
    this.#zoomTo(zooms[how] ?? Number(how), this.#middle, how === "fit");
  }

  toggleLoupe() {
    this.#loupeAt = this.#loupeAt ? null : { x: this.#view.width / 3, y: this.#view.height / 2 };
    this.#update();
  }

  /** What is `at` this point of the view stays there. */
  #zoomTo(zoom, at, isFit = false) {
    const least = Math.min(1, fitZoom(this.#view, this.#picture));
    const next = clamp(zoom, least, MOST_ZOOM);
    const away = moved(at, this.#middle, -1);
    this.#centre = moved(this.#centre, away, 1 / this.zoom - 1 / next);
    this.zoom = next;
    this.isFit = isFit;
    this.#update();
  }

  get #middle() {
    return { x: this.#view.width / 2, y: this.#view.height / 2 };
  }

  /** Of the whole picture. */
  get #place() {
    return place(this.#view, this.#picture, this.zoom, this.#centre);
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = view;
    if (!width || !height) return;
    this.#view = { width, height };
    for (const layer of layers) {
      layer.width = Math.round(width * devicePixelRatio);
      layer.height = Math.round(height * devicePixelRatio);
    }
    this.#update();
  }

  /** Bring everything into its limits, and draw once before the next frame. */
  #update() {
    if (this.isFit) this.zoom = fitZoom(this.#view, this.#picture);
    this.#centre = settle(this.#view, this.#picture, this.zoom, this.#centre);
    view.toggleAttribute("data-moves", this.#isPannable || this.hasLoupe);
    this.onChange();
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isDue = false;
    const picture = this.#place;
    const seen = visible(this.#view, picture);
    this.#layOver(seen);
    const scene = {
      view: this.#view,
      picture,
      ...this.#images,
      zoom: this.zoom,
      dividerX: seen.left + this.#split * seen.width,
      hasPixels: this.hasPixels,
      loupeAt: this.#loupeAt && inside(seen, this.#loupeAt),
    };
    const [canvas, loupe] = layers.map((layer) => scaled(layer, this.#view));
    paint(canvas, scene);
    paintLoupe(loupe, scene);
  }

  #layOver(seen) {
    for (const length of ["left", "top", "width", "height"]) overlay.style[length] = `${seen[length]}px`;
    divider.style.left = `${100 * this.#split}%`;
    const percent = Math.round(100 * this.#split);
    divider.setAttribute("aria-valuenow", percent);
    divider.setAttribute("aria-valuetext", `${percent} % your picture, the rest result`);
  }

  get #isPannable() {
    const { width, height } = this.#place;
    return width > this.#view.width + 1 || height > this.#view.height + 1;
  }

  #press(e) {
    if (e.button !== 0) return;
    e.preventDefault(); // no text is selected, no image dragged
    divider.focus({ preventScroll: true });
    view.setPointerCapture(e.pointerId);
    const at = pointOf(e);
    this.#pointers.set(e.pointerId, at);
    if (this.#pointers.size > 1) this.#drag = "pinch";
    else if (divider.contains(e.target)) this.#drag = "split";
    else if (this.hasLoupe && e.pointerType !== "mouse") this.#drag = "loupe";
    else this.#drag = this.#isPannable ? "pan" : "split";
    this.#follow(at, at);
  }

  #move(e) {
    const at = pointOf(e);
    if (this.hasLoupe && e.pointerType === "mouse") this.#moveLoupe(at);
    const from = this.#pointers.get(e.pointerId);
    if (!from) return;
    if (this.#drag === "pinch") this.#pinch(e.pointerId, from, at);
    else this.#follow(from, at);
    this.#pointers.set(e.pointerId, at);
  }

  #lift(e) {
    this.#pointers.delete(e.pointerId);
    this.#drag = null; // what is left of a pinch moves nothing
  }

  #follow(from, to) {
    if (this.#drag === "split") this.#splitAt(to.x);
    if (this.#drag === "pan") this.#pan(moved(to, from, -1));
    if (this.#drag === "loupe") this.#moveLoupe(to);
  }

  #pinch(id, from, to) {
    const [, other] = [...this.#pointers].find(([otherId]) => otherId !== id);
    const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
    const middle = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
    this.#zoomTo((this.zoom * apart(to)) / apart(from), middle);
    this.#pan(moved(to, from, -1), 0.5);
  }

  #splitAt(x) {
    const seen = visible(this.#view, this.#place);
    this.#splitTo((x - seen.left) / seen.width);
  }

  #splitTo(share) {
    this.#split = clamp(share, 0, 1);
    this.#update();
  }

  #pan(by, times = 1) {
    this.#centre = moved(this.#centre, by, -times / this.zoom);
    this.#update();
  }

  #moveLoupe(at) {
    this.#loupeAt = inside({ left: 0, top: 0, ...this.#view }, at);
    this.#update();
  }

  /** A pinch on a touchpad comes as a wheel with Ctrl; a plain wheel scrolls the page. */
  #wheel(e) {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    this.#zoomTo(this.zoom * Math.exp(-WHEEL_STEP * clamp(e.deltaY, -50, 50)), pointOf(e));
  }

  #key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.shiftKey && e.key in ARROWS) this.#shove(ARROWS[e.key]);
    else if (e.key in DIVIDER_STEPS) this.#splitTo(this.#split + DIVIDER_STEPS[e.key]);
    else if (e.key in ZOOM_KEYS) this.zoomAs(ZOOM_KEYS[e.key]);
    else if (e.key.toLowerCase() === "l") this.toggleLoupe();
    else return;
    e.preventDefault();
  }

  #shove(direction) {
    if (this.#loupeAt) this.#moveLoupe(moved(this.#loupeAt, direction, MOVE_PX));
    else this.#pan(direction, -MOVE_PX);
  }
}

/** In the view. */
function pointOf(e) {
  const box = view.getBoundingClientRect();
  return { x: e.clientX - box.left, y: e.clientY - box.top };
}

function scaled(canvas, size) {
  const context = canvas.getContext("2d");
  const ratio = canvas.width / size.width;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** What the input looked like, where the browser cannot show it: the result, made small again. */
export function madeSmall(after, scale) {
  const width = Math.round(after.width / scale);
  const height = Math.round(after.height / scale);
  const small = newElement("canvas", { width, height });
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(after, 0, 0, width, height);
  return small;
}
