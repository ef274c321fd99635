/** Numbers as people read them. */

const UNITS = ["bytes", "kB", "MB", "GB"];

/** Such as "3.1 MB". */
export function bytes(count) {
  const power = count && Math.min(Math.floor(Math.log10(count) / 3), UNITS.length - 1);
  const value = count / 1000 ** power;
  const digits = power === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[power]}`;
}

/** Such as "4 megapixels". */
export function pixels(count) {
  if (count < 1e5) return `${count} pixels`;
  return `${Number((count / 1e6).toFixed(2))} megapixels`;
}

/** Such as "640 × 480". */
export function size({ width, height }) {
  return `${width} × ${height}`;
}

/** Such as "0.8 s". */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
}

/** Without its extension. */
export function stem(filename) {
  return filename.replace(/\.[^.]+$/, "") || filename;
}
