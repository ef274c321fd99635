/** What is known of the result, how it is wished for, and the command. */

import { curlLine } from "./command.js";
import { byId, on, say, write } from "./dom.js";
import { sizeOf } from "./picture.js";
import { put } from "./queue.js";
import { nameToSave, showSave, wishToSave } from "./save.js";
import { bytes, seconds, size } from "./wording.js";

const DEBOUNCE_MS = 400; // of the knob, so that only where it stops is asked for

const knob = byId("detail");
const coherence = byId("coherence");
const command = byId("command");

let picture = null;
let timer = 0;

on.format = writeCommand;
byId("copy").onclick = copy;
knob.oninput = coherence.onchange = () => {
  picture.wish = wishFor(picture.isClip);
  writeDetail();
  clearTimeout(timer);
  timer = setTimeout(put, DEBOUNCE_MS, picture);
};

export function wishFor(isClip) {
  const detail = Number(knob.value);
  return isClip ? { detail, coherence: coherence.checked ? "on" : "off" } : { detail, format: "png" };
}

/** Of a clip also before there is a result, which may take long. */
export function showPanel(shown, metadata) {
  const isShown = Boolean(shown?.answer || shown?.isClip);
  byId("panel").hidden = !isShown;
  byId("bench").toggleAttribute("data-result", isShown);
  if (shown !== picture) clearTimeout(timer);
  if (!isShown) return;
  picture = shown;
  const { answer, file, isClip, kind, wish } = picture;
  const { least, most } = metadata.detail;
  Object.assign(knob, { min: least, max: most, value: wish.detail });
  coherence.checked = wish.coherence !== "off";
  write("name", file.name);
  writeDetail();
  const isFixed = file.size === 0; // a job that was found again, without its file
  byId("detail-field").hidden = isFixed || least === most;
  byId("coherence-field").hidden = isFixed || !isClip || kind === "archive";
  byId("result").hidden = !answer;
  if (!answer) return;
  writeFacts(picture);
  showSave(picture, metadata);
  writeCommand();
}

function writeDetail() {
  write("detail-value", Number(knob.value).toFixed(2));
}

function writeCommand() {
  write("command", curlLine(picture, wishToSave(), nameToSave()));
  write("copied", "");
}

function writeFacts({ file, before, after, answer }) {
  const { computedMs, job } = answer;
  const computing = computedMs ? say("computing-time", { time: seconds(computedMs) }) : "";
  const frames = job?.frames_total;
  const facts = {
    input: sized(answer.inputSize, before, file),
    result: sized(answer.outputSize, after, answer.blob),
    frames: frames && say("rate", { frames, rate: ((1000 * frames) / computedMs).toFixed(1) }),
    time: seconds(answer.elapsedMs) + computing,
    model: answer.model,
    consistency: answer.consistencyDb && `${answer.consistencyDb} dB`,
    damage: job?.damage,
  };
  for (const [name, fact] of Object.entries(facts)) {
    byId(`fact-${name}`).hidden = !fact;
    byId(`fact-${name}`).querySelector("span").textContent = fact;
  }
}

function sized(told, image, { size: count }) {
  const sides = told?.replace("x", " × ") ?? (image && size(sizeOf(image)));
  return [sides, count && bytes(count)].filter(Boolean).join(", ");
}

/** Copy the command; pages that came without HTTPS may not, so it is selected for the user. */
async function copy() {
  try {
    await navigator.clipboard.writeText(command.textContent);
    write("copied", say("copied-done"));
  } catch {
    getSelection().selectAllChildren(command);
    write("copied", say("copied-selected"));
  }
}
