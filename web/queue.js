/** Works off pictures, two at a time, and comes back when the service is busy. */

import { askForKey } from "./key.js";
import { release, showable } from "./picture.js";
import { problemOf } from "./problems.js";
import { Refusal, upscale } from "./service.js";

const AT_ONCE = 2;
const UNAUTHORIZED = 401;

export class Queue {
  /** @type {Picture[]} */
  #waiting = [];
  /** @type {Set<AbortController>} */
  #running = new Set();
  /** @type {number} until when the service asked for quiet, ms */
  #quietUntil = 0;
  #changed;

  /** @param {(picture: Picture) => void} changed told of every step */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Begin a picture, or begin it anew: an older request for it is aborted. */
  put(/** @type {Picture} */ picture) {
    this.#stop(picture);
    picture.control = new AbortController();
    this.#waiting.push(picture);
    this.#enter(picture, "waiting");
    this.#next();
  }

  /** End the work on a picture; a result that was there before stays. */
  cancel(/** @type {Picture} */ picture) {
    this.#stop(picture);
    this.#enter(picture, picture.answer ? "done" : "cancelled");
    if (picture.answer) picture.detail = picture.answer.wish.detail;
    this.#changed(picture);
    this.#next();
  }

  /** Try at once what would wait for its next try. */
  hurry() {
    this.#quietUntil = 0;
    this.#next();
  }

  #stop(/** @type {Picture} */ picture) {
    picture.control.abort();
    this.#running.delete(picture.control);
    this.#waiting = this.#waiting.filter((other) => other !== picture);
    picture.problem = null;
  }

  #next() {
    const pauseMs = this.#quietUntil - Date.now();
    if (pauseMs > 0) {
      setTimeout(() => this.#next(), pauseMs);
      return;
    }
    while (this.#running.size < AT_ONCE && this.#waiting.length) {
      this.#work(/** @type {Picture} */ (this.#waiting.shift()));
    }
  }

  async #work(/** @type {Picture} */ picture) {
    const { control } = picture;
    this.#running.add(control);
    try {
      await this.#develop(picture, control.signal);
    } catch (error) {
      if (!control.signal.aborted) await this.#fail(picture, error);
    } finally {
      this.#running.delete(control);
      this.#next();
    }
  }

  async #develop(/** @type {Picture} */ picture, /** @type {AbortSignal} */ signal) {
    const wish = { detail: picture.detail, format: "png" };
    this.#enter(picture, "uploading", { stage: "uploading", done: 0, of: picture.file.size });
    const answer = await upscale(picture.file, wish, signal, (progress) =>
      this.#enter(picture, progress.stage, progress),
    );
    const after = await showable(answer.blob);
    if (signal.aborted) return release(after);
    release(picture.after);
    Object.assign(picture, { answer, after });
    this.#enter(picture, "done");
  }

  async #fail(/** @type {Picture} */ picture, /** @type {unknown} */ error) {
    if (error instanceof Refusal && error.status === UNAUTHORIZED) {
      this.#running.delete(picture.control);
      const { signal } = picture.control;
      const isGiven = await askForKey(error.message);
      if (signal.aborted) return;
      if (isGiven) return this.put(picture);
    }
    picture.problem = problemOf(error);
    const waitS = picture.problem.retryAfterS;
    if (waitS === null) return this.#enter(picture, "failed");
    this.#quietUntil = picture.retryAt = Date.now() + 1000 * waitS;
    this.#waiting.unshift(picture);
    this.#enter(picture, "retrying");
  }

  #enter(
    /** @type {Picture} */ picture,
    /** @type {Stage} */ stage,
    /** @type {Progress|null} */ progress = null,
  ) {
    if (picture.stage !== stage) picture.since = performance.now();
    picture.stage = stage;
    picture.progress = progress;
    this.#changed(picture);
  }
}
