/** The curl command that does the same as the page. */

import { keyHeaders } from "./key.js";
import { JOBS, PREDICT } from "./service.js";

const UNQUOTED = /^[\w.=@-]+$/; // safe for curl and for a shell
const DEFAULTS = ["png", "on"]; // values that need not be sent

export function curlLine({ file, isClip }, options, outputName) {
  const parts = ["-F", quote(filePart(isClip ? "file" : "image", file.name))];
  for (const [name, value] of Object.entries(options)) {
    if (!DEFAULTS.includes(value)) parts.push("-F", quote(`${name}=${value}`));
  }
  const key = Object.keys(keyHeaders()).length ? ' -H "X-API-Key: $API_KEY"' : "";
  const form = `${parts.join(" ")}${key}`;
  if (!isClip) return `curl ${form} ${PREDICT} -o ${quote(outputName)}`;
  // The event stream ends when the job ends.
  return `job=${JOBS.origin}$(curl -sS ${form} ${JOBS} -o /dev/null -w '%header{location}')
curl -sSN${key} $job/events
curl -sS${key} $job/result -o ${quote(outputName)}`;
}

/** Quotes a file name for curl, where it contains commas, semicolons or quotes. */
function filePart(field, filename) {
  if (UNQUOTED.test(filename)) return `${field}=@${filename}`;
  return `${field}=@"${filename.replace(/[\\"]/g, "\\$&")}"`;
}

/** Quotes a word for a POSIX shell. */
function quote(word) {
  if (UNQUOTED.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}
