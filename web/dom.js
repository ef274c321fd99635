/** Elements of this page, new ones, its words, and what it does when something happens. */

const words = byId("words").content;

/** @type {Handlers} filled where the parts meet */
export const on = {};

export function byId(id) {
  return document.getElementById(id);
}

export function write(id, text) {
  byId(id).textContent = text;
}

export function newElement(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Words of the HTML, their `{gaps}` filled; the usual ones if there are none of that name. */
export function say(name, gaps = {}, usual = "") {
  const found = words.getElementById(name) ?? words.getElementById(usual);
  return found.textContent.replace(/\{(\w+)\}/g, (_, gap) => gaps[gap]);
}
