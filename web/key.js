/** The API key: asked for when the service needs one, kept in this tab only. */

import { byId, write } from "./dom.js";

const STORED_AS = "enhancer-key";
const UNAUTHORIZED = 401;

const dialog = byId("key-dialog");
const input = byId("key");

let openDialog = null;

export function keyHeaders() {
  const key = sessionStorage.getItem(STORED_AS);
  return key ? { "X-API-Key": key } : {};
}

/** Asks for a key if an error is about that. Requests share one dialog. @returns {Promise<boolean>} */
export async function askForKey({ status, message }) {
  if (status !== UNAUTHORIZED) return false;
  openDialog ??= openKeyDialog(message).finally(() => {
    openDialog = null;
  });
  return openDialog;
}

function openKeyDialog(message) {
  write("key-message", message);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(storeKey());
  });
}

function storeKey() {
  const key = input.value.trim();
  input.value = "";
  if (dialog.returnValue !== "key" || !key) return false;
  sessionStorage.setItem(STORED_AS, key);
  return true;
}
