/** The picture under the loupe: divider, zoom, pan; by mouse, touch and keyboard. */

import { MOST_ZOOM, clamp, fitZoom, inside, place, settle, visible } from "./geometry.js";
import { paint, paintLoupe } from "./painter.js";

const ZOOM_STEP = Math.SQRT2;
const WHEEL_STEP = 0.01;
const KEY_STEP = 0.01; // of the divider's way
const PAGE_STEP = 0.1;
const MOVE_PX = 32; // of picture or loupe, by key

/** @type {Record<string, Point>} */
const ARROWS = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};
/** @type {Record<string, number>} */
const DIVIDER_STEPS = {
  ArrowLeft: -KEY_STEP,
  ArrowRight: KEY_STEP,
  ArrowUp: KEY_STEP,
  ArrowDown: -KEY_STEP,
  PageUp: PAGE_STEP,
  PageDown: -PAGE_STEP,
  Home: -1,
  End: 1,
};

export class Viewer {
  /** @type {CanvasImageSource|null} */
  #before = null;
  /** @type {CanvasImageSource|null} */
  #after = null;
  #picture = { width: 1, height: 1 };
  #view = { width: 1, height: 1 };
  #centre = { x: 0, y: 0 };
  #zoom = 1;
  #isFit = true;
  #split = 0.5;
  #hasPixels = false;
  #hasLoupe = false;
  /** @type {Point|null} */
  #loupeAt = null;
  /** @type {Map<number, Point>} */
  #pointers = new Map();
  /** @type {"split"|"pan"|"loupe"|"pinch"|null} */
  #drag = null;
  #isDue = false;

  /**
   * @param {HTMLElement} view
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLCanvasElement} loupe a canvas over everything else
   * @param {HTMLElement} seen what is laid over the picture
   * @param {HTMLElement} divider in it
   * @param {() => void} onChange of zoom or loupe
   */
  constructor(view, canvas, loupe, seen, divider, onChange) {
    this.view = view;
    this.layers = [canvas, loupe];
    this.seen = seen;
    this.divider = divider;
    this.onChange = onChange;
    new ResizeObserver(() => this.#resize()).observe(view);
    this.#listen();
  }

  /** CSS pixels per pixel of the result. */
  get zoom() {
    return this.#zoom;
  }

  get isFit() {
    return this.#isFit;
  }

  get hasLoupe() {
    return this.#hasLoupe;
  }

  /**
   * @param {CanvasImageSource|null} before
   * @param {CanvasImageSource|null} after null while there is no result
   * @param {Size} picture size of the result
   */
  show(before, after, picture) {
    const isOther = picture.width !== this.#picture.width || picture.height !== this.#picture.height;
    this.#before = before;
    this.#after = after;
    this.#picture = picture;
    this.seen.hidden = !after;
    if (isOther) this.#centre = { x: picture.width / 2, y: picture.height / 2 };
    this.#update();
  }

  /** @param {boolean} hasPixels squares instead of a smooth enlargement */
  showPixels(hasPixels) {
    this.#hasPixels = hasPixels;
    this.#update();
  }

  fit() {
    this.#isFit = true;
    this.#update();
  }

  /** @param {number} zoom @param {Point} [at] in the view, stays where it is */
  zoomTo(zoom, at = { x: this.#view.width / 2, y: this.#view.height / 2 }) {
    const least = Math.min(1, fitZoom(this.#view, this.#picture));
    const next = clamp(zoom, least, MOST_ZOOM);
    const shift = 1 / this.#zoom - 1 / next;
    this.#centre.x += (at.x - this.#view.width / 2) * shift;
    this.#centre.y += (at.y - this.#view.height / 2) * shift;
    this.#zoom = next;
    this.#isFit = false;
    this.#update();
  }

  zoomIn() {
    this.zoomTo(this.#zoom * ZOOM_STEP);
  }

  zoomOut() {
    this.zoomTo(this.#zoom / ZOOM_STEP);
  }

  toggleLoupe() {
    this.#hasLoupe = !this.#hasLoupe;
    this.#loupeAt = this.#hasLoupe ? { x: this.#view.width / 3, y: this.#view.height / 2 } : null;
    this.#update();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.view;
    if (!width || !height) return;
    this.#view = { width, height };
    for (const layer of this.layers) {
      layer.width = Math.round(width * devicePixelRatio);
      layer.height = Math.round(height * devicePixelRatio);
    }
    this.#update();
  }

  /** Bring everything into its limits, and draw once before the next frame. */
  #update() {
    if (this.#isFit) this.#zoom = fitZoom(this.#view, this.#picture);
    this.#centre = settle(this.#view, this.#picture, this.#zoom, this.#centre);
    this.view.toggleAttribute("data-moves", this.#isPannable() || this.#hasLoupe);
    this.onChange();
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isDue = false;
    const picture = place(this.#view, this.#picture, this.#zoom, this.#centre);
    const seen = visible(this.#view, picture);
    const dividerX = seen.left + this.#split * seen.width;
    this.#frame(seen);
    const scene = {
      view: this.#view,
      picture,
      before: this.#before,
      after: this.#after,
      zoom: this.#zoom,
      dividerX,
      hasPixels: this.#hasPixels,
      loupeAt: this.#loupeAt && inside(seen, this.#loupeAt),
    };
    const [canvas, loupe] = this.layers.map((layer) => scaled(layer, this.#view));
    paint(canvas, scene);
    paintLoupe(loupe, scene);
  }

  /** Divider and tags lie over the part of the picture that is in view. */
  #frame(/** @type {Rectangle} */ seen) {
    const { style } = this.seen;
    style.left = `${seen.left}px`;
    style.top = `${seen.top}px`;
    style.width = `${seen.width}px`;
    style.height = `${seen.height}px`;
    this.divider.style.left = `${100 * this.#split}%`;
    const percent = Math.round(100 * this.#split);
    this.divider.setAttribute("aria-valuenow", String(percent));
    this.divider.setAttribute("aria-valuetext", `${percent} % your picture, the rest result`);
  }

  #isPannable() {
    const { width, height } = place(this.#view, this.#picture, this.#zoom, this.#centre);
    return width > this.#view.width + 1 || height > this.#view.height + 1;
  }

  #listen() {
    const { view } = this;
    view.addEventListener("pointerdown", (e) => this.#press(e));
    view.addEventListener("pointermove", (e) => this.#move(e));
    for (const end of ["pointerup", "pointercancel"]) {
      view.addEventListener(end, (e) => this.#lift(/** @type {PointerEvent} */ (e)));
    }
    view.addEventListener("wheel", (e) => this.#wheel(e), { passive: false });
    view.addEventListener("dblclick", () => (this.#isFit ? this.zoomTo(1) : this.fit()));
    view.addEventListener("keydown", (e) => this.#key(e));
  }

  /** @param {MouseEvent} e @returns {Point} in the view */
  #point(e) {
    const box = this.view.getBoundingClientRect();
    return { x: e.clientX - box.left, y: e.clientY - box.top };
  }

  #press(/** @type {PointerEvent} */ e) {
    if (e.button !== 0) return;
    e.preventDefault(); // no text is selected, no image dragged
    this.divider.focus({ preventScroll: true });
    this.view.setPointerCapture(e.pointerId);
    this.#pointers.set(e.pointerId, this.#point(e));
    const isOnDivider = this.divider.contains(/** @type {Node} */ (e.target));
    if (this.#pointers.size > 1) this.#drag = "pinch";
    else if (isOnDivider) this.#drag = "split";
    else if (this.#hasLoupe && e.pointerType !== "mouse") this.#drag = "loupe";
    else this.#drag = this.#isPannable() ? "pan" : "split";
    this.#follow(this.#point(e), { x: 0, y: 0 });
  }

  #move(/** @type {PointerEvent} */ e) {
    const at = this.#point(e);
    if (this.#hasLoupe && e.pointerType === "mouse") this.#moveLoupe(at);
    const from = this.#pointers.get(e.pointerId);
    if (!from) return;
    if (this.#drag === "pinch") this.#pinch(e.pointerId, from, at);
    else this.#follow(at, { x: at.x - from.x, y: at.y - from.y });
    this.#pointers.set(e.pointerId, at);
  }

  #lift(/** @type {PointerEvent} */ e) {
    this.#pointers.delete(e.pointerId);
    this.#drag = null; // what is left of a pinch moves nothing
  }

  #follow(/** @type {Point} */ at, /** @type {Point} */ by) {
    if (this.#drag === "split") this.#splitAt(at.x);
    if (this.#drag === "pan") this.#pan(by);
    if (this.#drag === "loupe") this.#moveLoupe(at);
  }

  #pinch(/** @type {number} */ id, /** @type {Point} */ from, /** @type {Point} */ to) {
    const other = [...this.#pointers].find(([otherId]) => otherId !== id)?.[1];
    if (!other) return;
    const apart = (/** @type {Point} */ p) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
    const middle = { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 };
    this.zoomTo((this.#zoom * apart(to)) / apart(from), middle);
    this.#pan({ x: (to.x - from.x) / 2, y: (to.y - from.y) / 2 });
  }

  #splitAt(/** @type {number} */ x) {
    const seen = visible(this.#view, place(this.#view, this.#picture, this.#zoom, this.#centre));
    this.#split = clamp((x - seen.left) / seen.width, 0, 1);
    this.#update();
  }

  #pan(/** @type {Point} */ by) {
    this.#centre.x -= by.x / this.#zoom;
    this.#centre.y -= by.y / this.#zoom;
    this.#update();
  }

  #moveLoupe(/** @type {Point} */ at) {
    this.#loupeAt = inside({ left: 0, top: 0, ...this.#view }, at);
    this.#update();
  }

  /** A pinch on a touchpad comes as a wheel with Ctrl; a plain wheel scrolls the page. */
  #wheel(/** @type {WheelEvent} */ e) {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    this.zoomTo(this.#zoom * Math.exp(-WHEEL_STEP * clamp(e.deltaY, -50, 50)), this.#point(e));
  }

  #key(/** @type {KeyboardEvent} */ e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const isDone = e.shiftKey && e.key in ARROWS ? this.#shove(ARROWS[e.key]) : this.#keyPlain(e.key);
    if (isDone) e.preventDefault();
  }

  /** @returns {boolean} */
  #shove(/** @type {Point} */ direction) {
    const by = { x: MOVE_PX * direction.x, y: MOVE_PX * direction.y };
    if (this.#loupeAt) this.#moveLoupe({ x: this.#loupeAt.x + by.x, y: this.#loupeAt.y + by.y });
    else this.#pan({ x: -by.x, y: -by.y });
    return true;
  }

  /** @returns {boolean} whether the key means something here */
  #keyPlain(/** @type {string} */ key) {
    if (key in DIVIDER_STEPS) {
      this.#split = clamp(this.#split + DIVIDER_STEPS[key], 0, 1);
      this.#update();
    } else if (key === "+" || key === "=") this.zoomIn();
    else if (key === "-") this.zoomOut();
    else if (key === "0") this.fit();
    else if (["1", "2", "4"].includes(key)) this.zoomTo(Number(key));
    else if (key === "l" || key === "L") this.toggleLoupe();
    else return false;
    return true;
  }
}

/** @param {HTMLCanvasElement} canvas @param {Size} view @returns {CanvasRenderingContext2D} */
function scaled(canvas, view) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const ratio = canvas.width / view.width;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/**
 * What the input looked like, where the browser cannot show it: the result, made small again.
 * @param {HTMLImageElement} after
 * @param {number} scale
 * @returns {HTMLCanvasElement}
 */
export function madeSmall(after, scale) {
  const small = document.createElement("canvas");
  small.width = Math.round(after.naturalWidth / scale);
  small.height = Math.round(after.naturalHeight / scale);
  const context = /** @type {CanvasRenderingContext2D} */ (small.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(after, 0, 0, small.width, small.height);
  return small;
}
