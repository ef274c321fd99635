/** Position of the picture in its view, in CSS pixels. Centres are in pixels of the result. */

export const MAX_ZOOM = 16;

export function clamp(value, min, max) {
  return Math.min(Math.max(value, min), max);
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

export function pictureRectangle(view, picture, zoom, centre) {
  return {
    left: view.width / 2 - zoom * centre.x,
    top: view.height / 2 - zoom * centre.y,
    width: zoom * picture.width,
    height: zoom * picture.height,
  };
}

/** Returns the nearest centre that leaves no avoidable empty space in the view. */
export function limitCentre(view, picture, zoom, centre) {
  return {
    x: limitCentreAlong(view.width / zoom, picture.width, centre.x),
    y: limitCentreAlong(view.height / zoom, picture.height, centre.y),
  };
}

function limitCentreAlong(shown, length, centre) {
  return shown >= length ? length / 2 : clamp(centre, shown / 2, length - shown / 2);
}

/** Returns where the whole input lies if a part of it lies on a rectangle. */
export function uncropped(r, part, input) {
  const [across, down] = [r.width / part.width, r.height / part.height];
  return {
    left: r.left - across * part.left,
    top: r.top - down * part.top,
    width: across * input.width,
    height: down * input.height,
  };
}

/** Returns the CSS shape that shows only one rectangle of a box. */
export function insetTo(box, shown) {
  const { left, top, width, height } = box;
  const shares = [
    (shown.top - top) / height,
    (left + width - shown.left - shown.width) / width,
    (top + height - shown.top - shown.height) / height,
    (shown.left - left) / width,
  ];
  return `inset(${shares.map((share) => `${100 * share}%`).join(" ")})`;
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
