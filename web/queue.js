/** Works off pictures, two at a time, and comes back when the service is busy. */

import { askForKey } from "./key.js";
import { release, showable } from "./picture.js";
import { CANCELLED, problemOf } from "./problems.js";
import { upscale } from "./service.js";

const AT_ONCE = 2;

export class Queue {
  #waiting = [];
  #running = new Set(); // their controls
  #quietUntil = 0; // as the service asked, ms
  #changed;

  /** `changed` is told of every step of a picture. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Begin a picture, or begin it anew: an older request for it is aborted. */
  put(picture) {
    this.#stop(picture);
    picture.control = new AbortController();
    this.#waiting.push(picture);
    this.#enter(picture, "waiting");
    this.#next();
  }

  /** End the work on a picture; a result that was there before stays. */
  cancel(picture) {
    this.#stop(picture);
    const { answer } = picture;
    if (answer) picture.detail = answer.wish.detail;
    else picture.problem = CANCELLED;
    this.#enter(picture, answer ? "done" : "cancelled");
    this.#next();
  }

  /** Try at once what would wait for its next try. */
  hurry() {
    this.#quietUntil = 0;
    this.#next();
  }

  #stop(picture) {
    picture.control.abort();
    this.#running.delete(picture.control);
    this.#waiting = this.#waiting.filter((other) => other !== picture);
    picture.problem = null;
  }

  #next() {
    const pauseMs = this.#quietUntil - Date.now();
    if (pauseMs > 0) return void setTimeout(() => this.#next(), pauseMs);
    while (this.#running.size < AT_ONCE && this.#waiting.length) this.#work(this.#waiting.shift());
  }

  async #work(picture) {
    const { control } = picture;
    this.#running.add(control);
    picture.problem = null;
    try {
      await this.#develop(picture, control.signal);
    } catch (error) {
      this.#running.delete(control); // others go on while a key is asked for
      if (!control.signal.aborted) await this.#fail(picture, control.signal, error);
    } finally {
      this.#running.delete(control);
      this.#next();
    }
  }

  async #develop(picture, signal) {
    const wish = { detail: picture.detail, format: "png" };
    const enter = (progress) => this.#enter(picture, progress.stage, progress);
    enter({ stage: "uploading", done: 0, of: picture.file.size });
    const answer = await upscale(picture.file, wish, signal, enter);
    const after = await showable(answer.blob);
    if (signal.aborted) return release(after);
    release(picture.after);
    Object.assign(picture, { answer, after });
    this.#enter(picture, "done");
  }

  async #fail(picture, signal, error) {
    const isGiven = await askForKey(error);
    if (signal.aborted) return;
    if (isGiven) return this.put(picture);
    picture.problem = problemOf(error);
    const waitS = picture.problem.retryAfterS;
    if (waitS === null) return this.#enter(picture, "failed");
    this.#quietUntil = picture.retryAt = Date.now() + 1000 * waitS;
    this.#waiting.unshift(picture);
    this.#enter(picture, "retrying");
  }

  #enter(picture, stage, progress = {}) {
    if (picture.stage !== stage) picture.since = performance.now();
    Object.assign(picture, { stage, progress });
    this.#changed(picture);
  }
}
