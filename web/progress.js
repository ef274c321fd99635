/** How far a picture is, as honestly as a browser can know it. */

import { byId } from "./dom.js";
import { ACTIVE } from "./picture.js";
import { bytes, seconds } from "./wording.js";

const bar = byId("working-bar");

/** @param {Picture|null} picture that is shown */
export function showProgress(picture) {
  const isActive = picture !== null && ACTIVE.includes(picture.stage);
  byId("working").hidden = !isActive;
  if (!isActive) return;
  byId("working-text").textContent = words(picture);
  byId("now").hidden = picture.stage !== "retrying";
  const share = shareOf(picture);
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

/** @param {Picture|null} picture that is shown */
export function showProblem(picture) {
  const problem = picture?.stage === "failed" ? picture.problem : null;
  const isCancelled = picture?.stage === "cancelled";
  byId("problem").hidden = !problem && !isCancelled;
  byId("problem-title").textContent = problem?.title ?? "Cancelled.";
  byId("problem-advice").textContent = problem?.advice ?? "";
  byId("problem-told").textContent = problem?.told ? `The service says: ${problem.told}` : "";
  byId("retry").hidden = !isCancelled && !problem?.canRetry;
}

/** @param {Picture} picture @returns {string} */
function words(picture) {
  const { done = 0, of = null } = picture.progress ?? {};
  switch (picture.stage) {
    case "waiting":
      return "Waiting for its turn.";
    case "uploading":
      return `Sending ${bytes(done)} of ${bytes(of ?? picture.file.size)}.`;
    case "computing":
      return `Sent. Waiting and computing, ${seconds(performance.now() - picture.since)}.`;
    case "downloading":
      return of ? `Receiving ${bytes(done)} of ${bytes(of)}.` : `Computing and receiving, ${bytes(done)} so far.`;
    default:
      return `${picture.problem?.title} Next try in ${secondsLeft(picture)} s. ${picture.problem?.told}`;
  }
}

/** @param {Picture} picture @returns {number} until the next try */
export function secondsLeft(picture) {
  return Math.max(0, Math.ceil((picture.retryAt - Date.now()) / 1000));
}

/** @param {Picture} picture @returns {number|null} null if nobody knows */
function shareOf({ progress }) {
  return progress?.of ? Math.min(1, (progress.done ?? 0) / progress.of) : null;
}

/** @type {Record<string, string>} */
const BRIEFLY = {
  waiting: "waiting",
  uploading: "sending",
  computing: "computing",
  downloading: "receiving",
  retrying: "waiting for the service",
  done: "done",
  cancelled: "cancelled",
  failed: "failed",
};

/** @param {Picture} picture @returns {string} the stage in a word or two */
export function briefly(picture) {
  return BRIEFLY[picture.stage];
}
