/** A picture on its way: the file, what is known of it, and what became of it. */

export const ACTIVE = ["waiting", "uploading", "computing", "downloading", "retrying"];

let count = 0;

/** @returns {Promise<Picture>} */
export async function newPicture(file, detail) {
  count += 1;
  return {
    number: count,
    file,
    detail,
    stage: "waiting",
    progress: {},
    since: performance.now(),
    retryAt: 0,
    before: await showable(file),
    after: null,
    answer: null,
    problem: null,
    control: new AbortController(),
  };
}

/** An image of a blob, decoded when it is drawn; null if this browser cannot show it. */
export async function showable(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  const { type } = await new Promise((resolve) => {
    image.onload = image.onerror = resolve;
  });
  if (type === "load") return image;
  release(image);
  return null;
}

/** Of an image that is not shown any more. */
export function release(image) {
  if (image) URL.revokeObjectURL(image.src);
}
