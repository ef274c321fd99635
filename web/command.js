/** The curl line that does the same as this page. */

import { keyHeaders } from "./key.js";
import { PREDICT } from "./service.js";

const PLAIN = /^[\w.-]+$/;

export function curlLine(filename, wish, outputName) {
  const parts = ["curl", "-F", quote(imagePart(filename)), "-F", quote(`detail=${wish.detail}`)];
  if (wish.format !== "png") parts.push("-F", quote(`format=${wish.format}`));
  if (wish.quality) parts.push("-F", quote(`quality=${wish.quality}`));
  if (Object.keys(keyHeaders()).length) parts.push("-H", '"X-API-Key: $API_KEY"');
  return [...parts, PREDICT.href, "-o", quote(outputName)].join(" ");
}

/** Curl wants commas, semicolons and quotes quoted. */
function imagePart(filename) {
  if (PLAIN.test(filename)) return `image=@${filename}`;
  return `image=@"${filename.replace(/[\\"]/g, "\\$&")}"`;
}

/** For a POSIX shell. */
function quote(word) {
  if (/^[\w.=@-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}
