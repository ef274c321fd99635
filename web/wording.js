/** Numbers as people read them. */

const PREFIXES = ["bytes", "kB", "MB", "GB"];
const THOUSAND = 1000;

/** @param {number} count @returns {string} such as "3.1 MB" */
export function bytes(count) {
  let power = 0;
  let value = count;
  while (value >= THOUSAND && power < PREFIXES.length - 1) {
    value /= THOUSAND;
    power += 1;
  }
  const digits = power === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${PREFIXES[power]}`;
}

/** @param {number} count @returns {string} such as "4 megapixels" */
export function pixels(count) {
  if (count < 1e5) return `${count} pixels`;
  return `${Number((count / 1e6).toFixed(2))} megapixels`;
}

/** @param {number} width @param {number} height @returns {string} such as "640 × 480" */
export function size(width, height) {
  return `${width} × ${height}`;
}

/** @param {number} ms @returns {string} such as "0.8 s" */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
}

/** @param {string} filename @returns {string} without its extension */
export function stem(filename) {
  return filename.replace(/\.[^.]+$/, "") || filename;
}
