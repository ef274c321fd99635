/** Shows the progress of a picture, as far as it is known. */

import { byId, say, write } from "./dom.js";
import { isActive } from "./picture.js";
import { bytes, seconds } from "./wording.js";

const bar = byId("working-bar");

export function showProgress(picture) {
  byId("working").hidden = !isActive(picture);
  if (!isActive(picture)) return;
  write("working-text", progressWords(picture));
  byId("now").hidden = picture.stage !== "retrying";
  const { report, ...transfer } = picture.progress;
  const { done, of } = report && picture.stage === "computing" ? computed(report) : transfer;
  if (of) bar.value = Math.min(1, done / of);
  else bar.removeAttribute("value"); // not known
}

export function showProblem(picture) {
  const problem = isActive(picture) ? null : picture?.problem;
  byId("problem").hidden = !problem;
  if (!problem) return;
  write("problem-title", problem.title);
  write("problem-advice", problem.advice);
  write("problem-message", problem.message && say("service-message", problem));
  byId("retry").hidden = !problem.canRetry;
}

function progressWords({ stage, progress: { done, of, report }, problem, retryAt, since }) {
  if (report && (stage === "computing" || of === null)) return reportWords(report);
  return say(of === null ? "streaming" : stage, {
    ...problem,
    done: bytes(done ?? 0),
    of: bytes(of ?? 0),
    time: seconds(performance.now() - since),
    left: Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)),
  });
}

/** Returns a report of the service about a picture or a job, in words. */
export function reportWords(report) {
  const { unit, done, of } = computed(report);
  const before = report.pictures_before ?? report.position ?? null;
  if (before !== null) return say(`${unit}-before-${Math.min(before, 2)}`, { before });
  if (report.state === "decoding") return say("decoding");
  const left = seconds(1000 * report.seconds_left);
  const rate = report.frames_per_second?.toFixed(1);
  return say(report.seconds_left === null ? `${unit}-begun` : unit, { done, of, left, rate });
}

function computed(report) {
  const unit = "tiles_total" in report ? "tiles" : "frames";
  return { unit, done: report[`${unit}_done`], of: report[`${unit}_total`] };
}

export function briefly({ stage, problem }) {
  if (stage === "failed" && problem?.offers) return say("choose-size");
  return say(`${stage}-briefly`, { stage }, "briefly");
}
