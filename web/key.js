/** The API key: asked for when the service wants one, kept in this tab only. */

import { byId, write } from "./dom.js";

const STORED_AS = "enhancer-key";
const UNAUTHORIZED = 401;

const dialog = byId("key-dialog");
const input = byId("key");

let asking = null;

export function keyHeaders() {
  const key = sessionStorage.getItem(STORED_AS);
  return key ? { "X-API-Key": key } : {};
}

/** If that is what is missing. Several callers share one dialog. @returns {Promise<boolean>} */
export async function askForKey({ status, message }) {
  if (status !== UNAUTHORIZED) return false;
  asking ??= ask(message).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(message) {
  write("key-told", message);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(take());
  });
}

function take() {
  const key = input.value.trim();
  input.value = "";
  if (dialog.returnValue !== "key" || !key) return false;
  sessionStorage.setItem(STORED_AS, key);
  return true;
}
