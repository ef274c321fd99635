/** Input of pictures: chosen, dropped, pasted, or from the samples. */

import { byId, on, say } from "./dom.js";

const input = byId("file");

for (const id of ["choose", "add"]) byId(id).onclick = () => input.click();
input.onchange = () => {
  on.files([...input.files]);
  input.value = ""; // so that the same file can be chosen again
};
document.onpaste = (e) => {
  const files = [...e.clipboardData.files];
  if (files.length) on.files(files);
};
document.ondragover = (e) => {
  e.preventDefault();
  showDropTarget(true);
};
document.ondragleave = (e) => showDropTarget(e.relatedTarget !== null);
document.ondrop = (e) => {
  e.preventDefault();
  showDropTarget(false);
  const files = [...e.dataTransfer.files];
  if (files.length) on.files(files);
  else on.notice(say("no-file"));
};
byId("samples").onclick = async ({ target }) => {
  const image = target.closest("button")?.querySelector("img");
  if (!image) return;
  try {
    on.files([await fetchFile(image.src)]);
  } catch {
    on.notice(say("no-sample"));
  }
};

function showDropTarget(isOver) {
  document.body.toggleAttribute("data-drop", isOver);
}

async function fetchFile(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`Status ${response.status}`);
  const blob = await response.blob();
  return new File([blob], address.split("/").at(-1), { type: blob.type });
}
