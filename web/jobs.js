/** Clips and archives: jobs of the service, followed to their end, and found again. */

import {
  ASK_MS, JOBS, Refusal, contentOf, formOf, modelOf, pause, send,
} from "./service.js";

const STORED_AS = "enhancer-jobs";
const [THERE, GONE] = [200, 404];
const FAILED = 410; // the status of its result
const LEAST_PASSING = 429; // status
const LATER_MS = 5000;

/** Names, by id. */
function knownJobs() {
  return JSON.parse(localStorage.getItem(STORED_AS) ?? "{}");
}

/** Without a name, the job is forgotten. */
function remember(id, name) {
  localStorage.setItem(STORED_AS, JSON.stringify({ ...knownJobs(), [id]: name }));
}

/** What has expired is forgotten. */
export async function findJobs() {
  const found = [];
  for (const [id, name] of Object.entries(knownJobs())) {
    const { status } = await send("GET", addressOf(id)).catch((error) => error);
    if (status === THERE) found.push({ id, name });
    if (status === GONE) remember(id);
  }
  return found;
}

/** As `upscale`; the signal discards the job, also afterwards. */
export async function runJob({ file, job: begun }, wish, signal, onProgress) {
  const id = begun ?? (await handIn(file, wish, signal, onProgress));
  remember(id, file.name);
  signal.addEventListener("abort", () => discard(id));
  if (signal.aborted) discard(id);
  const { job, model } = await end(id, signal, onProgress);
  const { response } = await insist(`${addressOf(id)}/result`, signal, onProgress);
  const tookMs = (since) => Date.parse(job.finished) - Date.parse(since);
  const [elapsedMs, computedMs] = [job.created, job.started].map(tookMs);
  return { blob: response, wish, elapsedMs, computedMs, model, alpha: "", job };
}

function addressOf(id) {
  return `${JOBS}/${id}`;
}

/** What is sent becomes a job, so to abort that, its id is waited for. */
async function handIn(file, wish, signal, onProgress) {
  const sending = new AbortController();
  let isSent = false;
  signal.addEventListener("abort", () => isSent || sending.abort(signal.reason));
  const watch = (news) => {
    isSent ||= news.stage === "computing";
    onProgress(news);
  };
  const form = formOf("file", file, wish);
  const { id } = await contentOf(
    await send("POST", JOBS, { form, signal: sending.signal, onProgress: watch }));
  return id;
}

function discard(id) {
  remember(id);
  send("DELETE", addressOf(id)).catch(() => {}); // then it expires
}

async function end(id, signal, onProgress) {
  for (;;) {
    const request = await insist(addressOf(id), signal);
    const job = await contentOf(request);
    if (job.state === "succeeded") return { job, model: modelOf(request) };
    if (job.finished) throw new Refusal(FAILED, job.error ?? "");
    onProgress({ stage: "computing", place: job });
    await pause(ASK_MS);
  }
}

/** A job goes on while nobody answers. */
async function insist(address, signal, onProgress) {
  for (;;) {
    try {
      return await send("GET", address, { signal, onProgress });
    } catch (error) {
      if (signal.aborted || error.status < LEAST_PASSING) throw error;
    }
    await pause(LATER_MS);
  }
}
