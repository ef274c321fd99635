/** How far a picture is, as honestly as a browser can know it. */

import { byId, write } from "./dom.js";
import { ACTIVE } from "./picture.js";
import { bytes, seconds } from "./wording.js";

const bar = byId("working-bar");

export function showProgress(picture) {
  const isActive = ACTIVE.includes(picture?.stage);
  byId("working").hidden = !isActive;
  if (!isActive) return;
  write("working-text", words(picture));
  byId("now").hidden = picture.stage !== "retrying";
  const { done, of } = picture.progress;
  if (of) bar.value = Math.min(1, done / of);
  else bar.removeAttribute("value"); // nobody knows
}

export function showProblem(picture) {
  const problem = ACTIVE.includes(picture?.stage) ? null : picture?.problem;
  byId("problem").hidden = !problem;
  if (!problem) return;
  write("problem-title", problem.title);
  write("problem-advice", problem.advice);
  write("problem-told", problem.told && `The service says: ${problem.told}`);
  byId("retry").hidden = !problem.canRetry;
}

function words(picture) {
  const { stage, progress: { done, of }, problem } = picture;
  const leftS = Math.max(0, Math.ceil((picture.retryAt - Date.now()) / 1000));
  switch (stage) {
    case "waiting":
      return "Waiting for its turn.";
    case "uploading":
      return `Sending ${bytes(done)} of ${bytes(of)}.`;
    case "computing":
      return `Sent. Waiting and computing, ${seconds(performance.now() - picture.since)}.`;
    case "downloading":
      return of ? `Receiving ${bytes(done)} of ${bytes(of)}.` : `Computing and receiving, ${bytes(done)} so far.`;
    default:
      return `${problem.title} Next try in ${leftS} s. ${problem.told}`;
  }
}

/** Where another word is better. */
const BRIEFLY = {
  uploading: "sending",
  downloading: "receiving",
  retrying: "waiting for the service",
};

/** The stage in a word or two. */
export function briefly({ stage }) {
  return BRIEFLY[stage] ?? stage;
}
