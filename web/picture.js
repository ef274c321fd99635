/** A picture on its way: the file, what is known of it, and what became of it. */

export const ACTIVE = ["waiting", "uploading", "computing", "downloading", "retrying"];

let count = 0;

/**
 * @param {File} file
 * @param {number} detail
 * @returns {Promise<Picture>}
 */
export async function newPicture(file, detail) {
  count += 1;
  return {
    number: count,
    file,
    detail,
    stage: "waiting",
    progress: null,
    since: performance.now(),
    retryAt: 0,
    before: await showable(file),
    after: null,
    answer: null,
    problem: null,
    control: new AbortController(),
  };
}

/**
 * An image that the browser can draw; it is decoded when it is drawn.
 * @param {Blob} blob
 * @returns {Promise<HTMLImageElement|null>}
 */
export async function showable(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  const shown = await new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
  });
  if (shown) return image;
  URL.revokeObjectURL(image.src);
  return null;
}

/** @param {HTMLImageElement|null} image that is not shown any more */
export function release(image) {
  if (image) URL.revokeObjectURL(image.src);
}
