/** The panel: options of the picture, facts about the result, and the curl command. */

import { curlLine } from "./command.js";
import { byId, on, say, write } from "./dom.js";
import { sizeOf } from "./picture.js";
import { enqueue } from "./queue.js";
import { nameToSave, optionsToSave, showSave } from "./save.js";
import { bytes, seconds, size } from "./wording.js";

const DEBOUNCE_MS = 400; // after the slider has moved: only its last position is sent

const slider = byId("detail");
const coherence = byId("coherence");
const command = byId("command");

let picture = null;
let timer = 0;

on.format = writeCommand;
byId("copy").onclick = copy;
slider.oninput = coherence.onchange = () => {
  picture.options = optionsFor(picture.isClip);
  writeDetail();
  clearTimeout(timer);
  timer = setTimeout(enqueue, DEBOUNCE_MS, picture);
};

export function optionsFor(isClip) {
  const detail = Number(slider.value);
  return isClip ? { detail, coherence: coherence.checked ? "on" : "off" } : { detail, format: "png" };
}

/** Shows the panel, for a clip even before there is a result, which may take long. */
export function showPanel(shown, metadata) {
  const isShown = Boolean(shown?.answer || shown?.isClip);
  byId("panel").hidden = !isShown;
  byId("bench").toggleAttribute("data-result", isShown);
  if (shown !== picture) clearTimeout(timer);
  if (!isShown) return;
  picture = shown;
  const { answer, file, isClip, kind, options } = picture;
  const { least, most } = metadata.detail;
  Object.assign(slider, { min: least, max: most, value: options.detail });
  coherence.checked = options.coherence !== "off";
  write("name", file.name);
  writeDetail();
  const isFixed = file.size === 0; // a restored job, without its file
  byId("detail-field").hidden = isFixed || least === most;
  byId("coherence-field").hidden = isFixed || !isClip || kind === "archive";
  byId("result").hidden = !answer;
  if (!answer) return;
  writeFacts(picture);
  showSave(picture, metadata);
  writeCommand();
}

function writeDetail() {
  write("detail-value", Number(slider.value).toFixed(2));
}

function writeCommand() {
  write("command", curlLine(picture, optionsToSave(), nameToSave()));
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

function sized(reported, image, { size: count }) {
  const sides = reported?.replace("x", " × ") ?? (image && size(sizeOf(image)));
  return [sides, count && bytes(count)].filter(Boolean).join(", ");
}

/** Copies the command. Without HTTPS, browsers forbid that; then selects it instead. */
async function copy() {
  try {
    await navigator.clipboard.writeText(command.textContent);
    write("copied", say("copied-done"));
  } catch {
    getSelection().selectAllChildren(command);
    write("copied", say("copied-selected"));
  }
}
