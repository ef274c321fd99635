/** What is known of the result, the knob, and the command. */

import { curlLine } from "./command.js";
import { byId } from "./dom.js";
import { Save } from "./save.js";
import { bytes, seconds } from "./wording.js";

const DEBOUNCE_MS = 400; // of the knob, so that only where it stops is asked for

const panel = byId("panel");
const detail = byId("detail");
const command = byId("command");
const copied = byId("copied");

export class Panel {
  /** @type {Picture|null} */
  #picture = null;
  #timer = 0;
  #scale = 4;
  #save = new Save(() => this.#writeCommand());

  /** @param {(picture: Picture) => void} onDetail told when another detail is wanted */
  constructor(onDetail) {
    detail.addEventListener("input", () => this.#turn(onDetail));
    byId("copy").addEventListener("click", () => void copy());
  }

  /** @returns {number} where the knob is */
  get detail() {
    return Number(detail.value);
  }

  /** @param {any} metadata of the service */
  adapt({ weights, detail: { least, most } }) {
    this.#scale = weights.scale;
    detail.min = least;
    detail.max = most;
    byId("detail-field").hidden = least === most;
  }

  /** @param {Picture|null} picture */
  show(picture) {
    panel.hidden = !picture?.answer;
    if (picture !== this.#picture) clearTimeout(this.#timer);
    if (!picture?.answer) return;
    this.#picture = picture;
    byId("name").textContent = picture.file.name;
    detail.value = String(picture.detail);
    writeDetail();
    writeFacts(picture.answer, picture.file);
    this.#save.show(picture, this.#scale);
    this.#writeCommand();
  }

  #turn(/** @type {(picture: Picture) => void} */ onDetail) {
    writeDetail();
    const picture = this.#picture;
    if (!picture) return;
    picture.detail = this.detail;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => onDetail(picture), DEBOUNCE_MS);
  }

  #writeCommand() {
    if (!this.#picture) return;
    command.textContent = curlLine(this.#picture.file.name, this.#save.wish, this.#save.filename);
    copied.textContent = "";
  }
}

function writeDetail() {
  byId("detail-value").textContent = Number(detail.value).toFixed(2);
}

/** @param {Answer} answer @param {File} file */
function writeFacts(answer, file) {
  const computed = answer.computedMs === null ? "" : `, computing ${seconds(answer.computedMs)}`;
  const facts = [
    ["Your picture", `${answer.inputSize.replace("x", " × ")}, ${bytes(file.size)}`],
    ["Result", `${answer.outputSize.replace("x", " × ")}, ${bytes(answer.blob.size)}`],
    ["Time", seconds(answer.elapsedMs) + computed],
    ["Model", answer.model],
  ];
  if (answer.consistencyDb) {
    facts.push(["Consistency", `${answer.consistencyDb} dB`, "made small again, against your picture"]);
  }
  byId("facts").replaceChildren(...facts.flatMap(entry));
}

/** @param {string[]} fact name, value, and what it means @returns {HTMLElement[]} */
function entry([name, value, meaning]) {
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name;
  text.textContent = value;
  if (meaning) {
    const small = document.createElement("small");
    small.textContent = meaning;
    text.append(small);
  }
  return [term, text];
}

/** Copy the command; pages that came without HTTPS may not, so it is selected for the user. */
async function copy() {
  try {
    await navigator.clipboard.writeText(command.textContent ?? "");
    copied.textContent = "Copied.";
  } catch {
    getSelection()?.selectAllChildren(command);
    copied.textContent = "Selected: copy it with Ctrl+C.";
  }
}
