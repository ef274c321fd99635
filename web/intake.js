/** Where pictures come from: chosen, dropped, pasted, or from the samples. */

import { byId } from "./dom.js";

const input = byId("file");
const PASTED = /^image\.\w+$/; // what browsers call a picture from the clipboard

let pasted = 0;

/** `onFiles` is given the files, `onNothing` is told why there are none. */
export function listenForFiles(onFiles, onNothing) {
  for (const id of ["choose", "add"]) byId(id).onclick = () => input.click();
  input.onchange = () => {
    onFiles([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  };
  document.onpaste = (e) => {
    const files = [...e.clipboardData.files];
    if (files.length) onFiles(files.map(named));
  };
  listenForDrops(onFiles, onNothing);
  listenForSamples(onFiles, onNothing);
}

function listenForDrops(onFiles, onNothing) {
  const mark = (isOver) => document.body.toggleAttribute("data-drop", isOver);
  document.ondragover = (e) => {
    e.preventDefault();
    mark(true);
  };
  document.ondragleave = (e) => mark(e.relatedTarget !== null);
  document.ondrop = (e) => {
    e.preventDefault();
    mark(false);
    const files = [...e.dataTransfer.files];
    if (files.length) onFiles(files);
    else onNothing("That was no file. Save the picture first, then drop it here.");
  };
}

function listenForSamples(onFiles, onNothing) {
  byId("samples").onclick = async ({ target }) => {
    const image = target.closest("button")?.querySelector("img");
    if (!image) return;
    try {
      onFiles([await fetched(image.src)]);
    } catch {
      onNothing("This sample cannot be loaded. Check the connection, then try again.");
    }
  };
}

async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`Status ${response.status}`);
  const blob = await response.blob();
  return new File([blob], address.split("/").at(-1), { type: blob.type });
}

/** With a name that tells it from the one before. */
function named(file) {
  if (!PASTED.test(file.name)) return file;
  pasted += 1;
  return new File([file], file.name.replace("image", `pasted-${pasted}`), { type: file.type });
}
