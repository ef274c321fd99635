/** Elements: those of this page, and new ones. */

/** @returns {any} the element, which is there */
export function byId(id) {
  return document.getElementById(id);
}

export function write(id, text) {
  byId(id).textContent = text;
}

/** @returns {any} with these properties and children */
export function newElement(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}
