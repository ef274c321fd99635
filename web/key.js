/** The API key: asked for when the service wants one, kept in this tab only. */

import { byId } from "./dom.js";

const STORED_AS = "enhancer-key";

const dialog = byId("key-dialog");
const input = byId("key");
const told = byId("key-told");

/** @type {Promise<boolean>|null} */
let asking = null;

/** @returns {Record<string, string>} the header that carries the key, if there is one */
export function keyHeaders() {
  const key = sessionStorage.getItem(STORED_AS);
  return key ? { "X-API-Key": key } : {};
}

/**
 * Ask for the key; several callers share one dialog.
 * @param {string} message of the service
 * @returns {Promise<boolean>} whether there is a new one
 */
export function askForKey(message) {
  asking ??= ask(message).finally(() => {
    asking = null;
  });
  return asking;
}

/** @param {string} message @returns {Promise<boolean>} */
function ask(message) {
  told.textContent = message;
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(take()), { once: true });
  });
}

/** @returns {boolean} */
function take() {
  const key = input.value.trim();
  input.value = "";
  if (dialog.returnValue !== "key" || !key) return false;
  sessionStorage.setItem(STORED_AS, key);
  return true;
}
