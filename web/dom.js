/** Access to the page: elements, texts, and handlers of events. */

const words = byId("words").content;

/** @type {Handlers} set by main.js */
export const on = {};

export function byId(id) {
  return document.getElementById(id);
}

export function write(id, text) {
  writeIn(byId(id), text);
}

/** Sets a text. Screen readers may read one again that is set again. */
export function writeIn(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function newElement(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Returns a text of the HTML template with its `{gaps}` filled, or the fallback text. */
export function say(name, gaps = {}, fallback = "") {
  const text = words.getElementById(name) ?? words.getElementById(fallback);
  return text.textContent.replace(/\{(\w+)\}/g, (_, gap) => gaps[gap]);
}
