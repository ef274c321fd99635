/** What is known of the result, the knob, and the command. */

import { curlLine } from "./command.js";
import { byId, newElement, write } from "./dom.js";
import { Save } from "./save.js";
import { bytes, seconds } from "./wording.js";

const DEBOUNCE_MS = 400; // of the knob, so that only where it stops is asked for

const knob = byId("detail");
const command = byId("command");

export class Panel {
  #picture = null;
  #timer = 0;
  #save = new Save(() => this.#writeCommand());

  /** @param {(picture: Picture) => void} onDetail told when another detail is wanted */
  constructor(onDetail) {
    knob.oninput = () => this.#turn(onDetail);
    byId("copy").onclick = copy;
  }

  get detail() {
    return Number(knob.value);
  }

  adapt({ weights, detail: { least, most } }) {
    this.#save.scale = weights.scale;
    knob.min = least;
    knob.max = most;
    byId("detail-field").hidden = least === most;
  }

  show(picture) {
    byId("panel").hidden = !picture?.answer;
    if (picture !== this.#picture) clearTimeout(this.#timer);
    if (!picture?.answer) return;
    this.#picture = picture;
    write("name", picture.file.name);
    knob.value = picture.detail;
    this.#writeDetail();
    writeFacts(picture.answer, picture.file);
    this.#save.show(picture);
    this.#writeCommand();
  }

  #turn(onDetail) {
    this.#writeDetail();
    const picture = this.#picture;
    picture.detail = this.detail;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => onDetail(picture), DEBOUNCE_MS);
  }

  #writeDetail() {
    write("detail-value", this.detail.toFixed(2));
  }

  #writeCommand() {
    const { wish, filename } = this.#save;
    write("command", curlLine(this.#picture.file.name, wish, filename));
    write("copied", "");
  }
}

function writeFacts(answer, file) {
  const computed = answer.computedMs ? `, computing ${seconds(answer.computedMs)}` : "";
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

function entry([name, value, meaning]) {
  const small = meaning ? [newElement("small", {}, meaning)] : [];
  return [newElement("dt", {}, name), newElement("dd", {}, value, ...small)];
}

/** Copy the command; pages that came without HTTPS may not, so it is selected for the user. */
async function copy() {
  try {
    await navigator.clipboard.writeText(command.textContent);
    write("copied", "Copied.");
  } catch {
    getSelection().selectAllChildren(command);
    write("copied", "Selected: copy it with Ctrl+C.");
  }
}
