/** Queue of pictures and clips: sends them, and retries when the service is busy. */

import { dropOther } from "./compare.js";
import { on } from "./dom.js";
import { runJob } from "./jobs.js";
import { release, showable, sizeFrom } from "./picture.js";
import { CANCELLED, problemOf } from "./problems.js";
import { upscale } from "./service.js";

const MAX_RUNNING = 2; // pictures sent at once

const running = new Set(); // controllers of pictures; clips wait in the service instead
let waiting = [];
let quietUntil = 0; // time before which the service asked for no request, ms

/** Queues a picture, or queues it again. */
export function enqueue(picture) {
  stop(picture);
  picture.control = new AbortController();
  waiting.push(picture);
  setStage(picture, "waiting");
  startNext();
}

/** Cancels a picture; keeps an earlier result. */
export function cancel(picture) {
  stop(picture);
  const { answer } = picture;
  if (answer) picture.options = answer.options;
  else picture.problem = CANCELLED;
  setStage(picture, answer ? "done" : "cancelled");
  startNext();
}

export function retryNow() {
  quietUntil = 0;
  startNext();
}

function stop(picture) {
  picture.control.abort();
  running.delete(picture.control);
  waiting = waiting.filter((other) => other !== picture);
  picture.problem = null;
}

function startNext() {
  const pauseMs = quietUntil - Date.now();
  if (pauseMs > 0) return void setTimeout(startNext, pauseMs);
  while (running.size < MAX_RUNNING && waiting.length) run(waiting.shift());
}

async function run(picture) {
  const { control } = picture;
  if (!picture.isClip) running.add(control);
  picture.problem = null;
  try {
    await process(picture, control.signal);
  } catch (error) {
    if (!control.signal.aborted) handleError(picture, error);
  } finally {
    running.delete(control);
    startNext();
  }
}

async function process(picture, signal) {
  const { file, isClip, kind, options } = picture;
  const update = (progress) => signal.aborted || setStage(picture, progress.stage, progress);
  update({ stage: "uploading", done: 0, of: file.size });
  const answer = await (isClip ? runJob : upscale)(picture, options, signal, update);
  const after = await showable(answer.blob);
  if (signal.aborted) return release(after);
  release(picture.after);
  dropOther(picture);
  const size = picture.size ?? sizeFrom(answer.inputSize);
  Object.assign(picture, { answer, after, size });
  if (kind === "animation") {
    release(picture.before);
    picture.before = await showable(file); // a new element, to start together with the result
  }
  setStage(picture, "done");
}

function handleError(picture, error) {
  picture.problem = problemOf(error);
  const waitS = picture.problem.retryAfterS;
  if (waitS === null) return setStage(picture, "failed");
  quietUntil = picture.retryAt = Date.now() + 1000 * waitS;
  waiting.unshift(picture);
  setStage(picture, "retrying");
}

function setStage(picture, stage, progress = {}) {
  if (picture.stage !== stage) picture.since = performance.now();
  Object.assign(picture, { stage, progress });
  on.step(picture);
}
