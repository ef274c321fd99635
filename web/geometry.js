/** Where a picture lies in its view: in CSS pixels, with centres in pixels of the result. */

export const MOST_ZOOM = 16;

export function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

export function moved(p, by, times = 1) {
  return { x: p.x + times * by.x, y: p.y + times * by.y };
}

export function inside(r, p) {
  return { x: clamp(p.x, r.left, r.left + r.width), y: clamp(p.y, r.top, r.top + r.height) };
}

export function fitZoom(view, picture) {
  return Math.min(view.width / picture.width, view.height / picture.height);
}

export function place(view, picture, zoom, centre) {
  return {
    left: view.width / 2 - zoom * centre.x,
    top: view.height / 2 - zoom * centre.y,
    width: zoom * picture.width,
    height: zoom * picture.height,
  };
}

/** With no more emptiness than there must be. */
export function settle(view, picture, zoom, centre) {
  return {
    x: settleAlong(view.width / zoom, picture.width, centre.x),
    y: settleAlong(view.height / zoom, picture.height, centre.y),
  };
}

function settleAlong(seen, whole, centre) {
  return seen >= whole ? whole / 2 : clamp(centre, seen / 2, whole - seen / 2);
}

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
