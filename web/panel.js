/** The panel: options of the picture, facts about the result, and the curl command. */

import { curlLine } from "./command.js";
import { byId, on, say, write } from "./dom.js";
import { modelFor } from "./model.js";
import { sizeOf } from "./picture.js";
import { enqueue } from "./queue.js";
import { nameToSave, optionsToSave, showSave } from "./save.js";
import { bytes, seconds, size } from "./wording.js";

const DEBOUNCE_MS = 400; // after the slider has moved: only its last position is sent

const slider = byId("detail");
const restore = byId("restore");
const isAuto = byId("restore-auto");
const coherence = byId("coherence");
const command = byId("command");

let picture = null;
let timer = 0;

on.format = writeCommand;
byId("copy").onclick = copy;
slider.oninput = coherence.onchange = isAuto.onchange = change;
restore.oninput = () => {
  isAuto.checked = false;
  change();
};

function change() {
  picture.options = { ...picture.options, ...optionsFor(picture.isClip) };
  writeValues();
  clearTimeout(timer);
  timer = setTimeout(enqueue, DEBOUNCE_MS, picture);
}

/** Sets how strongly pictures are restored. */
export function setRestore(strength) {
  isAuto.checked = strength === "auto";
  if (!isAuto.checked) restore.value = strength;
}

export function optionsFor(isClip) {
  const both = {
    detail: Number(slider.value),
    restore: isAuto.checked ? "auto" : Number(restore.value),
  };
  return isClip ? { ...both, coherence: coherence.checked ? "on" : "off" } : { ...both, format: "png" };
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
  slider.value = options.detail;
  const { most: mostRestore } = metadata.restore;
  isAuto.checked = options.restore === "auto";
  restore.value = isAuto.checked ? (answer?.strength ?? 0) : options.restore;
  coherence.checked = options.coherence !== "off";
  write("name", file.name);
  writeValues();
  const isFixed = file.size === 0; // a restored job, without its file
  byId("detail-field").hidden = isFixed || !modelFor(options, metadata).detail;
  byId("restore-field").hidden = isFixed || mostRestore === 0;
  byId("coherence-field").hidden = isFixed || !isClip || kind === "archive";
  byId("result").hidden = !answer;
  if (!answer) return;
  writeFacts(picture);
  showSave(picture, metadata);
  writeCommand();
}

function writeValues() {
  write("detail-value", Number(slider.value).toFixed(2));
  const text = restoreText();
  write("restore-value", text);
  restore.setAttribute("aria-valuetext", text);
}

function restoreText() {
  if (!isAuto.checked) return Number(restore.value).toFixed(2);
  const { answer } = picture;
  if (answer?.options.restore !== "auto") return say("restore-undecided");
  return say("restore-decided", { strength: answer.strength.toFixed(2) });
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
    restored: restoredWords(answer, file),
    consistency: answer.consistencyDb && `${answer.consistencyDb} dB`,
    damage: job?.damage,
    hidden: answer.isSuspected && say("hidden"),
  };
  for (const [name, fact] of Object.entries(facts)) {
    byId(`fact-${name}`).hidden = !fact;
    byId(`fact-${name}`).querySelector("span").textContent = fact;
  }
}

/** Returns how strongly the result was restored. Who chose that is not known of a restored job. */
function restoredWords({ strength, options }, file) {
  if (!strength) return "";
  const isDecided = options.restore === "auto" && file.size > 0;
  return isDecided ? say("restored-auto", { strength }) : String(strength);
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
