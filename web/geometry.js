/** Where a picture lies in its view. Lengths are CSS pixels, zoom is CSS pixels per result pixel. */

export const MOST_ZOOM = 16;

/** @param {number} value @param {number} least @param {number} most */
export function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

/** @param {Rectangle} r @param {Point} p @returns {Point} the nearest one in the rectangle */
export function inside(r, p) {
  return { x: clamp(p.x, r.left, r.left + r.width), y: clamp(p.y, r.top, r.top + r.height) };
}

/** @param {Size} view @param {Size} picture @returns {number} the zoom that fills the view */
export function fitZoom(view, picture) {
  return Math.min(view.width / picture.width, view.height / picture.height);
}

/**
 * @param {Size} view
 * @param {Size} picture
 * @param {number} zoom
 * @param {Point} centre in the picture, result pixels
 * @returns {Rectangle} of the whole picture, in the view
 */
export function place(view, picture, zoom, centre) {
  return {
    left: view.width / 2 - zoom * centre.x,
    top: view.height / 2 - zoom * centre.y,
    width: zoom * picture.width,
    height: zoom * picture.height,
  };
}

/**
 * The nearest centre that shows no more emptiness than it must.
 * @param {Size} view
 * @param {Size} picture
 * @param {number} zoom
 * @param {Point} centre
 * @returns {Point}
 */
export function settle(view, picture, zoom, centre) {
  return {
    x: settleAlong(view.width / zoom, picture.width, centre.x),
    y: settleAlong(view.height / zoom, picture.height, centre.y),
  };
}

/** @param {number} seen @param {number} whole @param {number} centre */
function settleAlong(seen, whole, centre) {
  return seen >= whole ? whole / 2 : clamp(centre, seen / 2, whole - seen / 2);
}

/** @param {Size} view @param {Rectangle} r @returns {Rectangle} the part of it that is in view */
export function visible(view, r) {
  const left = Math.max(0, r.left);
  const top = Math.max(0, r.top);
  return {
    left,
    top,
    width: Math.min(view.width, r.left + r.width) - left,
    height: Math.min(view.height, r.top + r.height) - top,
  };
}
