/**
 * Where a picture lies in its view. Lengths are CSS pixels, zooms CSS pixels per result pixel,
 * centres result pixels.
 */

export const MOST_ZOOM = 16;

export function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

/** A point that many times farther. */
export function moved(p, by, times = 1) {
  return { x: p.x + times * by.x, y: p.y + times * by.y };
}

/** The nearest point in a rectangle. */
export function inside(r, p) {
  return { x: clamp(p.x, r.left, r.left + r.width), y: clamp(p.y, r.top, r.top + r.height) };
}

/** The zoom that fills the view. */
export function fitZoom(view, picture) {
  return Math.min(view.width / picture.width, view.height / picture.height);
}

/** The rectangle of the whole picture, in the view. */
export function place(view, picture, zoom, centre) {
  return {
    left: view.width / 2 - zoom * centre.x,
    top: view.height / 2 - zoom * centre.y,
    width: zoom * picture.width,
    height: zoom * picture.height,
  };
}

/** The nearest centre that shows no more emptiness than it must. */
export function settle(view, picture, zoom, centre) {
  return {
    x: settleAlong(view.width / zoom, picture.width, centre.x),
    y: settleAlong(view.height / zoom, picture.height, centre.y),
  };
}

function settleAlong(seen, whole, centre) {
  return seen >= whole ? whole / 2 : clamp(centre, seen / 2, whole - seen / 2);
}

/** The part of a rectangle that is in view. */
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
