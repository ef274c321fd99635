/** The curl line that does the same as this page. */

import { keyHeaders } from "./key.js";
import { JOBS, PREDICT } from "./service.js";

const PLAIN = /^[\w.=@-]+$/; // for curl, and for a shell
const USUAL = ["png", "on"]; // which come anyway

export function curlLine({ file, isClip }, wish, outputName) {
  const parts = ["-F", quote(filePart(isClip ? "file" : "image", file.name))];
  for (const [name, value] of Object.entries(wish)) {
    if (!USUAL.includes(value)) parts.push("-F", quote(`${name}=${value}`));
  }
  const key = Object.keys(keyHeaders()).length ? ' -H "X-API-Key: $API_KEY"' : "";
  const form = `${parts.join(" ")}${key}`;
  if (!isClip) return `curl ${form} ${PREDICT} -o ${quote(outputName)}`;
  // Events end when the job does.
  return `job=${JOBS.origin}$(curl -sS ${form} ${JOBS} -o /dev/null -w '%header{location}')
curl -sSN${key} $job/events
curl -sS${key} $job/result -o ${quote(outputName)}`;
}

/** Curl wants commas, semicolons and quotes quoted. */
function filePart(field, filename) {
  if (PLAIN.test(filename)) return `${field}=@${filename}`;
  return `${field}=@"${filename.replace(/[\\"]/g, "\\$&")}"`;
}

/** For a POSIX shell. */
function quote(word) {
  if (PLAIN.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}
