/** Numbers with units, for people. */

const UNITS = ["bytes", "kB", "MB", "GB"];

/** Returns a size such as "3.1 MB". */
export function bytes(count) {
  let power = 0;
  for (; count >= 1000 && power < 3; power += 1) count /= 1000;
  return `${count.toFixed(power && count < 100 ? 1 : 0)} ${UNITS[power]}`;
}

export function pixels(count) {
  if (count < 1e5) return `${count} pixels`;
  return `${decimal(count / 1e6)} megapixels`;
}

export function size({ width, height }) {
  return `${width} × ${height}`;
}

/** Returns a number with at most two decimals. */
export function decimal(number) {
  return String(Number(number.toFixed(2)));
}

/** Returns a duration such as "0.8 s" or "12 min". */
export function seconds(ms) {
  if (ms >= 300_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
