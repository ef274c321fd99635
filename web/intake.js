/** Where pictures come from: chosen, dropped, pasted, or from the samples. */

import { byId } from "./dom.js";

const input = byId("file");
const PASTED = /^image\.\w+$/; // what browsers call a picture from the clipboard

let pasted = 0;

/**
 * @param {(files: File[]) => void} onFiles
 * @param {(message: string) => void} onNothing told why there are none
 */
export function listenForFiles(onFiles, onNothing) {
  for (const id of ["choose", "add"]) byId(id).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    onFiles([...(input.files ?? [])]);
    input.value = ""; // so that the same file can be chosen again
  });
  listenForDrops(onFiles, onNothing);
  document.addEventListener("paste", (e) => {
    const files = [...(e.clipboardData?.files ?? [])];
    if (files.length) onFiles(files.map(named));
  });
  listenForSamples(onFiles, onNothing);
}

/** @param {(files: File[]) => void} onFiles @param {(message: string) => void} onNothing */
function listenForDrops(onFiles, onNothing) {
  const mark = (/** @type {boolean} */ isOver) => document.body.toggleAttribute("data-drop", isOver);
  document.addEventListener("dragover", (e) => {
    e.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", (e) => mark(e.relatedTarget !== null));
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    mark(false);
    const files = [...(e.dataTransfer?.files ?? [])];
    if (files.length) onFiles(files);
    else onNothing("That was no file. Save the picture first, then drop it here.");
  });
}

/** @param {(files: File[]) => void} onFiles @param {(message: string) => void} onNothing */
function listenForSamples(onFiles, onNothing) {
  byId("samples").addEventListener("click", async (/** @type {Event} */ e) => {
    const target = /** @type {HTMLElement} */ (e.target);
    const image = target.closest("button")?.querySelector("img");
    if (!image) return;
    try {
      onFiles([await fetched(image.src)]);
    } catch {
      onNothing("This sample cannot be loaded. Check the connection, then try again.");
    }
  });
}

/** @param {string} address @returns {Promise<File>} */
async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`Status must be 200. Received: ${response.status}`);
  const blob = await response.blob();
  return new File([blob], address.split("/").at(-1) ?? "sample.png", { type: blob.type });
}

/** @param {File} file @returns {File} with a name that tells it from the one before */
function named(file) {
  if (!PASTED.test(file.name)) return file;
  pasted += 1;
  return new File([file], file.name.replace("image", `pasted-${pasted}`), { type: file.type });
}
