/** How far a picture is, as honestly as can be known. */

import { byId, say, write } from "./dom.js";
import { isActive } from "./picture.js";
import { bytes, seconds } from "./wording.js";

const bar = byId("working-bar");

export function showProgress(picture) {
  byId("working").hidden = !isActive(picture);
  if (!isActive(picture)) return;
  write("working-text", words(picture));
  byId("now").hidden = picture.stage !== "retrying";
  const { place, ...sent } = picture.progress;
  const { done, of } = place && picture.stage === "computing" ? worked(place) : sent;
  if (of) bar.value = Math.min(1, done / of);
  else bar.removeAttribute("value"); // nobody knows
}

export function showProblem(picture) {
  const problem = isActive(picture) ? null : picture?.problem;
  byId("problem").hidden = !problem;
  if (!problem) return;
  write("problem-title", problem.title);
  write("problem-advice", problem.advice);
  write("problem-told", problem.told && say("told", problem));
  byId("retry").hidden = !problem.canRetry;
}

function words({ stage, progress: { done, of, place }, problem, retryAt, since }) {
  if (place && (stage === "computing" || of === null)) return placeWords(place);
  return say(of === null ? "streaming" : stage, {
    ...problem,
    done: bytes(done ?? 0),
    of: bytes(of ?? 0),
    time: seconds(performance.now() - since),
    left: Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)),
  });
}

/** Of what the service told, of a picture or of a job. */
export function placeWords(place) {
  const { unit, done, of } = worked(place);
  const before = place.pictures_before ?? place.position ?? null;
  if (before !== null) return say(`${unit}-before-${Math.min(before, 2)}`, { before });
  if (place.state === "decoding") return say("decoding");
  const left = seconds(1000 * place.seconds_left);
  const rate = place.frames_per_second?.toFixed(1);
  return say(place.seconds_left === null ? `${unit}-begun` : unit, { done, of, left, rate });
}

function worked(place) {
  const unit = "tiles_total" in place ? "tiles" : "frames";
  return { unit, done: place[`${unit}_done`], of: place[`${unit}_total`] };
}

export function briefly({ stage }) {
  return say(`${stage}-briefly`, { stage }, "briefly");
}
