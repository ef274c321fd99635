/**
 * Types of the page's modules, for readers and editors. The service does not serve this file.
 * Variables are named after their types: a `picture` is a Picture.
 */

/** What the page does with a picture. */
type Stage =
  | "waiting" | "uploading" | "computing" | "downloading" | "retrying"
  | "done" | "cancelled" | "failed";

interface Picture {
  /** Counted from 1. */
  number: number;
  /** Empty except for its name if the job was restored after a reload. */
  file: File;
  /** Id of a restored job. */
  job: string | null;
  kind: "picture" | "animation" | "video" | "archive";
  /** Whether it is upscaled by a job. */
  isClip: boolean;
  options: Options;
  stage: Stage;
  /** Empty in stages without progress. */
  progress: Partial<Progress>;
  /** When the stage began, ms of `performance.now()`. */
  since?: number;
  /** When the next try is due, ms of `Date.now()`. */
  retryAt?: number;
  /** Null if this browser cannot show the file. */
  before: HTMLImageElement | HTMLVideoElement | null;
  /** Of the file, in pixels; null if it is not known. */
  size: Size | null;
  /** Null if the picture is small, or before the service answers. */
  estimate: Estimate | null;
  /** Null if there is no result, or it cannot be shown. */
  after: HTMLImageElement | HTMLVideoElement | null;
  /** Null if nobody has asked for another result to compare with. */
  other: Other | null;
  answer: Answer | null;
  problem: Problem | null;
  /** Aborts the current request. */
  control: AbortController;
}

interface Progress {
  stage: "uploading" | "computing" | "downloading";
  /** Bytes so far. */
  done?: number;
  /** Bytes in all; null if not known. */
  of?: number | null;
  /** What the service reports, if it reports anything. */
  report?: Job | Tiles;
}

/** Response of /model/progress. */
interface Tiles {
  state: "waiting" | "decoding" | "computing";
  pictures_before: number | null;
  tiles_done: number;
  tiles_total: number;
  seconds_left: number | null;
}

/** Response of /model/jobs. */
interface Job {
  id: string;
  state: "queued" | "running" | "succeeded" | "failed" | "cancelled";
  kind: "video" | "animation" | "pictures";
  position: number | null;
  frames_done: number;
  frames_total: number;
  frames_per_second: number | null;
  seconds_left: number | null;
  created: string;
  started: string | null;
  finished: string | null;
  error: string | null;
  damage: string | null;
  /** Strength at which all frames are restored; null if each picture has its own. */
  restore: number | null;
  result: { name: string; type: string; bytes: number } | null;
}

/** Handlers of events; main.js sets them. */
interface Handlers {
  files(files: File[]): void;
  /** An empty message hides the notice. */
  notice(message: string): void;
  /** Null if no picture is left. */
  select(picture: Picture | null): void;
  step(picture: Picture): void;
  /** Another size was chosen for the selected picture. */
  size(picture: Picture): void;
  /** Another model was chosen, for the selected picture if there is one. */
  model(picture: Picture | null, before: string | undefined): void;
  /** Another format or quality was chosen. */
  format(): void;
  /** Something else is to be left of the divider. */
  base(): void;
}

/** What is left of the divider. The input, the result without restoring, or of another model. */
type Base = "smooth" | "pixels" | "plain" | `model:${string}`;

/** Another result of a picture, of the same size. */
interface Other {
  base: Base;
  /** The answer that it is compared with. */
  answer: Answer;
  /** Null before it is there. */
  image: HTMLImageElement | null;
  hasFailed: boolean;
  /** Aborts its request. */
  control: AbortController;
}

/** A size of a result, as fields of a request; the usual size has none. */
interface Wanted {
  scale?: number;
  width?: number;
  height?: number;
  fit?: "cover";
}

/** Size and factor of a result. */
interface Grid extends Size {
  factor: number;
  /** The part of the input that the result shows, in pixels of the input; null for all of it. */
  part: Rectangle | null;
}

/** A size that a picture can have instead of the one that was asked for. */
interface Offer {
  scale: number;
  grid: Grid;
  /** Null before the service answers. */
  estimate: Estimate | null;
}

/** Response of /model/estimate. */
interface Estimate {
  input: Size;
  output: Size;
  seconds: number;
  queue_seconds: number;
  deadline_seconds: number;
}

interface Options extends Wanted {
  /** Missing for the default model. */
  model?: string;
  detail: number;
  restore: number | "auto";
  /** For clips: whether frames are consistent with the frames before. */
  coherence?: "on" | "off";
  /** Format of the clip if missing. */
  format?: string;
  quality?: number;
}

interface Answer {
  /** Exactly what the service sent. */
  blob: Blob;
  options: Options;
  /** From the first byte sent to the last byte received. */
  elapsedMs: number;
  /** NaN if unknown. */
  computedMs: number;
  /** Such as "113x75"; for pictures only, like the next two. */
  inputSize?: string;
  outputSize?: string;
  /** Empty if unknown. */
  consistencyDb?: string;
  model: string;
  /** The job that made it. */
  job?: Job;
  /** What happened to transparency; empty if nothing. */
  alpha: string;
  /** How strongly it was restored, from 0 to 1. */
  strength: number;
  /** Whether it probably hides another picture; for pictures only. */
  isSuspected?: boolean;
}

interface Problem {
  title: string;
  advice: string;
  /** Message of the service; empty without one. */
  message: string;
  canRetry: boolean;
  /** Seconds after which to retry; null if waiting does not help. */
  retryAfterS: number | null;
  /** Sizes to choose from, if only the size is impossible. */
  offers?: Offer[];
}

/** Limits in the response of /model/metadata. */
interface Limits {
  max_pixels: number;
  max_side: number;
  /** For pictures only. */
  max_output_pixels?: number;
  max_upload_bytes: number;
  formats: string[];
  /** For clips only. */
  max_seconds?: number;
  max_frames: number;
  output_formats: string[];
}

interface Metadata {
  description: string;
  limits: Limits;
  /** Missing if jobs are turned off. */
  jobs?: Limits;
  /** `most` is 0 if the service has no restorer. */
  restore: { least: number; most: number; default: number | "auto" };
  weights: { name: string; version: string };
  /** The default one first. */
  models: Model[];
}

/** A model in the response of /model/metadata. One with an error has nothing but its name. */
interface Model {
  name: string;
  error?: string;
  description: string;
  scale: number;
  /** Arithmetic of a pixel; that of the default model is 1. */
  cost: number;
  /** Whether `detail` below 1 is available. */
  detail: boolean;
  /** `restore` of requests that do not state it. */
  restore: number | "auto";
}

interface Point {
  x: number;
  y: number;
}

interface Size {
  width: number;
  height: number;
}

interface Rectangle extends Size {
  left: number;
  top: number;
}

/** What the view shows. Lengths are in CSS pixels. */
interface Scene {
  view: Size;
  picture: Rectangle;
  before: CanvasImageSource | null;
  /** The part of `before` that is shown, in its pixels; null for all of it. */
  part: Rectangle | null;
  /** Null before there is a result. */
  after: CanvasImageSource | null;
  /** CSS pixels per pixel of the result. */
  zoom: number;
  dividerX: number;
  /** Whether the pixels of the input are shown as squares. */
  hasPixels: boolean;
  loupeAt: Point | null;
}
