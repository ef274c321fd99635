/** @param {string} id @returns {any} the element of this page, which is there */
export function byId(id) {
  return document.getElementById(id);
}
