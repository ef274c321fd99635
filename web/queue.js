/** Works off pictures and clips; comes back when the service is busy. */

import { on } from "./dom.js";
import { runJob } from "./jobs.js";
import { release, showable } from "./picture.js";
import { CANCELLED, problemOf } from "./problems.js";
import { upscale } from "./service.js";

const AT_ONCE = 2;

const running = new Set(); // controls of pictures: clips queue in the service
let waiting = [];
let quietUntil = 0; // as the service asked, ms

/** Begin a picture, or begin it anew. */
export function put(picture) {
  stop(picture);
  picture.control = new AbortController();
  waiting.push(picture);
  enter(picture, "waiting");
  next();
}

/** A result that was there before stays. */
export function cancel(picture) {
  stop(picture);
  const { answer } = picture;
  if (answer) picture.wish = answer.wish;
  else picture.problem = CANCELLED;
  enter(picture, answer ? "done" : "cancelled");
  next();
}

export function hurry() {
  quietUntil = 0;
  next();
}

function stop(picture) {
  picture.control.abort();
  running.delete(picture.control);
  waiting = waiting.filter((other) => other !== picture);
  picture.problem = null;
}

function next() {
  const pauseMs = quietUntil - Date.now();
  if (pauseMs > 0) return void setTimeout(next, pauseMs);
  while (running.size < AT_ONCE && waiting.length) work(waiting.shift());
}

async function work(picture) {
  const { control } = picture;
  if (!picture.isClip) running.add(control);
  picture.problem = null;
  try {
    await develop(picture, control.signal);
  } catch (error) {
    if (!control.signal.aborted) fail(picture, error);
  } finally {
    running.delete(control);
    next();
  }
}

async function develop(picture, signal) {
  const { file, isClip, kind, wish } = picture;
  const note = (progress) => signal.aborted || enter(picture, progress.stage, progress);
  note({ stage: "uploading", done: 0, of: file.size });
  const answer = await (isClip ? runJob : upscale)(picture, wish, signal, note);
  const after = await showable(answer.blob);
  if (signal.aborted) return release(after);
  release(picture.after);
  Object.assign(picture, { answer, after });
  if (kind === "animation") {
    release(picture.before);
    picture.before = await showable(file); // anew, to begin together with its result
  }
  enter(picture, "done");
}

function fail(picture, error) {
  picture.problem = problemOf(error);
  const waitS = picture.problem.retryAfterS;
  if (waitS === null) return enter(picture, "failed");
  quietUntil = picture.retryAt = Date.now() + 1000 * waitS;
  waiting.unshift(picture);
  enter(picture, "retrying");
}

function enter(picture, stage, progress = {}) {
  if (picture.stage !== stage) picture.since = performance.now();
  Object.assign(picture, { stage, progress });
  on.step(picture);
}
