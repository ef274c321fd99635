/** The curl line that does the same as this page. */

import { keyHeaders } from "./key.js";
import { PREDICT } from "./service.js";

const PLAIN = /^[\w.=@-]+$/; // for curl, and for a shell

export function curlLine(filename, wish, outputName) {
  const parts = ["curl", "-F", quote(imagePart(filename))];
  for (const [name, value] of Object.entries(wish)) {
    if (value !== "png") parts.push("-F", quote(`${name}=${value}`)); // which comes anyway
  }
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
  if (PLAIN.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}
