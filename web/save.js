/** Saving the result: as it is, or once more from the service in another format. */

import { byId, newElement, write } from "./dom.js";
import { askForKey } from "./key.js";
import { problemOf } from "./problems.js";
import { upscale } from "./service.js";
import { bytes, stem } from "./wording.js";

const DOING = { uploading: "Sending …", computing: "Computing …", downloading: "Receiving …" };
const KEPT_MS = 60_000; // for the browser, which may ask where to, first

const format = byId("format");
const quality = byId("quality");

export class Save {
  scale = 4; // until the service told
  #picture = null;
  #control = null; // of the request under way

  /** @param {() => void} onWish told when format or quality is another */
  constructor(onWish) {
    format.onchange = () => {
      this.#chooseFormat();
      onWish();
    };
    quality.oninput = onWish;
    byId("save").onsubmit = (e) => {
      e.preventDefault();
      if (this.#control) this.#control.abort();
      else void this.#save(this.#picture);
    };
  }

  /** Of the picture that is shown, in the chosen format. */
  get wish() {
    const wish = { detail: this.#picture.answer.wish.detail, format: format.value };
    return format.value === "png" ? wish : { ...wish, quality: Number(quality.value) };
  }

  /** Such as "cat_4x.png". */
  get filename() {
    const extension = format.value === "jpeg" ? "jpg" : format.value;
    return `${stem(this.#picture.file.name)}_${this.scale}x.${extension}`;
  }

  show(picture) {
    if (picture !== this.#picture) {
      this.#control?.abort();
      note("");
    }
    this.#picture = picture;
    this.#label();
  }

  #chooseFormat() {
    const { quality: usual } = format.selectedOptions[0].dataset;
    byId("quality-field").hidden = quality.disabled = !usual;
    if (usual) quality.value = usual;
    note("");
    this.#label();
  }

  #label() {
    write("save-button", this.#control ? "Cancel" : `Save ${this.filename}`);
  }

  async #save({ file, answer }) {
    const { filename, wish } = this;
    if (wish.format === "png") return download(answer.blob, filename);
    const { signal } = (this.#control = new AbortController());
    this.#label();
    try {
      const { blob, alpha } = await request(file, wish, signal);
      download(blob, filename);
      note(`${bytes(blob.size)}. ${alpha && `Transparency: ${alpha}.`}`);
    } catch (error) {
      note(signal.aborted ? "Cancelled." : explain(error));
    } finally {
      this.#control = null;
      this.#label();
    }
  }
}

async function request(file, wish, signal) {
  try {
    return await upscale(file, wish, signal, ({ stage }) => note(DOING[stage]));
  } catch (error) {
    if (await askForKey(error)) return request(file, wish, signal);
    throw error;
  }
}

function note(text) {
  write("save-note", text);
}

function explain(error) {
  const { title, advice, told, retryAfterS } = problemOf(error);
  const next = retryAfterS === null ? advice : `Try again in ${retryAfterS} s.`;
  return [title, next, told].filter(Boolean).join(" ");
}

function download(blob, filename) {
  const link = newElement("a", { href: URL.createObjectURL(blob), download: filename });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
