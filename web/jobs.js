/** Clips and archives: jobs of the service, followed to their end, and restored on reload. */

import {
  JOBS, POLL_MS, Refusal, formOf, jsonOf, modelOf, pause, send,
} from "./service.js";

const STORED_AS = "enhancer-jobs";
const [FOUND, GONE] = [200, 404];
const FAILED = 410; // status of the result of a failed job
const FIRST_RETRYABLE = 429; // this status and higher ones are temporary
const RETRY_MS = 5000;

/** Returns the file names of the jobs by id. */
function knownJobs() {
  return JSON.parse(localStorage.getItem(STORED_AS) ?? "{}");
}

/** Stores the name of a job; without a name, forgets the job. */
function remember(id, name) {
  localStorage.setItem(STORED_AS, JSON.stringify({ ...knownJobs(), [id]: name }));
}

/** Returns the jobs that still exist, and forgets the others. */
export async function findJobs() {
  const found = [];
  for (const [id, name] of Object.entries(knownJobs())) {
    const { status } = await send("GET", addressOf(id)).catch((error) => error);
    if (status === FOUND) found.push({ id, name });
    if (status === GONE) remember(id);
  }
  return found;
}

/** Upscales a file by a job, like `upscale`. The signal deletes the job, even later. */
export async function runJob({ file, job: restored }, options, signal, onProgress) {
  const id = restored ?? (await submit(file, options, signal, onProgress));
  remember(id, file.name);
  signal.addEventListener("abort", () => discard(id));
  if (signal.aborted) discard(id);
  const { job, model } = await waitForEnd(id, signal, onProgress);
  const { response } = await sendUntilAnswered(`${addressOf(id)}/result`, signal, onProgress);
  const tookMs = (since) => Date.parse(job.finished) - Date.parse(since);
  const [elapsedMs, computedMs] = [job.created, job.started].map(tookMs);
  const strength = job.restore ?? 0;
  return { blob: response, options, elapsedMs, computedMs, model, alpha: "", strength, job };
}

function addressOf(id) {
  return `${JOBS}/${id}`;
}

/** Creates a job. Once the file is sent, waits for the id even if aborted, to delete the job. */
async function submit(file, options, signal, onProgress) {
  const sending = new AbortController();
  let isSent = false;
  signal.addEventListener("abort", () => isSent || sending.abort(signal.reason));
  const onSending = (progress) => {
    isSent ||= progress.stage === "computing";
    onProgress(progress);
  };
  const form = formOf("file", file, options);
  const { id } = await jsonOf(
    await send("POST", JOBS, { form, signal: sending.signal, onProgress: onSending }));
  return id;
}

/** Cancels a job and deletes it, or only deletes it if it has ended. */
async function discard(id) {
  remember(id);
  for (let turn = 0; turn < 2; turn += 1) {
    await send("DELETE", addressOf(id)).catch(() => {}); // the job expires by itself
  }
}

async function waitForEnd(id, signal, onProgress) {
  for (;;) {
    const request = await sendUntilAnswered(addressOf(id), signal);
    const job = await jsonOf(request);
    if (job.state === "succeeded") return { job, model: modelOf(request) };
    if (job.finished) throw new Refusal(FAILED, job.error ?? "");
    onProgress({ stage: "computing", report: job });
    await pause(POLL_MS);
  }
}

/** Repeats a request, because the job continues while the service does not answer. */
async function sendUntilAnswered(address, signal, onProgress) {
  for (;;) {
    try {
      return await send("GET", address, { signal, onProgress });
    } catch (error) {
      if (signal.aborted || error.status < FIRST_RETRYABLE) throw error;
    }
    await pause(RETRY_MS);
  }
}
