/** Saving the result: as it is, or once more from the service in another format. */

import { byId } from "./dom.js";
import { askForKey } from "./key.js";
import { problemOf } from "./problems.js";
import { Refusal, upscale } from "./service.js";
import { bytes, stem } from "./wording.js";

/** @type {Record<string, string>} */
const EXTENSIONS = { jpeg: "jpg" };
/** @type {Record<string, string>} */
const USUAL_QUALITY = { jpeg: "90", webp: "90", avif: "75" };

const form = byId("save");
const formatChoice = byId("format");
const quality = byId("quality");
const qualityField = byId("quality-field");
const button = byId("save-button");
const note = byId("save-note");

export class Save {
  /** @type {Picture|null} */
  #picture = null;
  /** @type {AbortController|null} */
  #control = null;
  #scale = 4;
  #onWish;

  /** @param {() => void} onWish told when format or quality is another */
  constructor(onWish) {
    this.#onWish = onWish;
    formatChoice.addEventListener("change", () => this.#chooseFormat());
    quality.addEventListener("input", () => this.#onWish());
    form.addEventListener("submit", (/** @type {Event} */ e) => {
      e.preventDefault();
      if (this.#control) this.#control.abort();
      else void this.#save();
    });
  }

  /** @returns {Wish} of the picture that is shown, in the chosen format */
  get wish() {
    const detail = this.#picture?.answer?.wish.detail ?? 1;
    const format = formatChoice.value;
    return format === "png" ? { detail, format } : { detail, format, quality: Number(quality.value) };
  }

  /** @returns {string} such as "cat_4x.png" */
  get filename() {
    const name = stem(this.#picture?.file.name ?? "");
    return `${name}_${this.#scale}x.${EXTENSIONS[formatChoice.value] ?? formatChoice.value}`;
  }

  /** @param {Picture} picture with an answer @param {number} scale */
  show(picture, scale) {
    if (picture !== this.#picture) this.#forget();
    this.#picture = picture;
    this.#scale = scale;
    this.#label();
  }

  #forget() {
    this.#control?.abort();
    note.textContent = "";
  }

  #chooseFormat() {
    const usual = USUAL_QUALITY[formatChoice.value];
    qualityField.hidden = quality.disabled = !usual;
    if (usual) quality.value = usual;
    note.textContent = "";
    this.#label();
    this.#onWish();
  }

  #label() {
    button.textContent = this.#control ? "Cancel" : `Save ${this.filename}`;
  }

  async #save() {
    const picture = /** @type {Picture} */ (this.#picture);
    const answer = /** @type {Answer} */ (picture.answer);
    if (formatChoice.value === "png") return download(answer.blob, this.filename);
    const control = (this.#control = new AbortController());
    const { filename } = this;
    this.#label();
    try {
      const { blob, alpha } = await this.#request(picture.file, control.signal);
      download(blob, filename);
      note.textContent = `${bytes(blob.size)}. ${alpha ? `Transparency: ${alpha}.` : ""}`;
    } catch (error) {
      note.textContent = control.signal.aborted ? "Cancelled." : explain(error);
    } finally {
      this.#control = null;
      this.#label();
    }
  }

  /**
   * @param {File} file
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  async #request(file, signal) {
    try {
      return await upscale(file, this.wish, signal, tell);
    } catch (error) {
      const isLocked = error instanceof Refusal && error.status === 401;
      if (isLocked && (await askForKey(error.message))) return this.#request(file, signal);
      throw error;
    }
  }
}

/** @param {Progress} progress */
function tell({ stage }) {
  note.textContent = { uploading: "Sending …", computing: "Computing …", downloading: "Receiving …" }[stage];
}

/** @param {unknown} error @returns {string} */
function explain(error) {
  const { title, advice, told, retryAfterS } = problemOf(error);
  const next = retryAfterS === null ? advice : `Try again in ${retryAfterS} s.`;
  return [title, next, told].filter(Boolean).join(" ");
}

/** @param {Blob} blob @param {string} filename */
function download(blob, filename) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may ask where to, first
}
