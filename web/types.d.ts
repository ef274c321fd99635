/**
 * What the modules hand to each other, for readers and editors; never served. Names tell the type:
 * a `picture` is a Picture, a `wish` a Wish; what is shown may be null.
 */

/** Where a picture is on its way. */
type Stage =
  | "waiting" | "uploading" | "computing" | "downloading" | "retrying"
  | "done" | "cancelled" | "failed";

interface Picture {
  /** Counted from 1. */
  number: number;
  /** Empty, but for its name, of a job that was found again. */
  file: File;
  /** Of a job that was found again. */
  job: string | null;
  kind: "picture" | "animation" | "video" | "archive";
  /** Whether a job is made of it. */
  isClip: boolean;
  /** That is wanted. */
  wish: Wish;
  stage: Stage;
  /** Empty where there is none to tell. */
  progress: Partial<Progress>;
  /** When the stage began, ms of `performance.now()`. */
  since?: number;
  /** When the next try is due, ms of `Date.now()`. */
  retryAt?: number;
  /** Null if this browser cannot show the file. */
  before: HTMLImageElement | HTMLVideoElement | null;
  /** Null if there is no result, or it cannot be shown. */
  after: HTMLImageElement | HTMLVideoElement | null;
  answer: Answer | null;
  problem: Problem | null;
  /** Of the request under way. */
  control: AbortController;
}

interface Progress {
  stage: "uploading" | "computing" | "downloading";
  /** Bytes. */
  done?: number;
  /** Bytes; null where the service does not say. */
  of?: number | null;
  /** As the service tells it; without, it does not. */
  place?: Job | Tiles;
}

/** Of /model/progress. */
interface Tiles {
  state: "waiting" | "decoding" | "computing";
  pictures_before: number | null;
  tiles_done: number;
  tiles_total: number;
  seconds_left: number | null;
}

/** Of /model/jobs. */
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
  result: { name: string; type: string; bytes: number } | null;
}

/** What the page does when something happens; filled in main. */
interface Handlers {
  files(files: File[]): void;
  /** An empty one takes the notice away. */
  notice(message: string): void;
  /** Null for none. */
  select(picture: Picture | null): void;
  step(picture: Picture): void;
  /** Another format or quality is chosen. */
  format(): void;
}

interface Wish {
  detail: number;
  /** Of clips, whether frames agree with those before. */
  coherence?: "on" | "off";
  /** Without, that of the clip. */
  format?: string;
  quality?: number;
}

interface Answer {
  /** Exactly what the service sent. */
  blob: Blob;
  wish: Wish;
  /** From the first byte sent to the last received. */
  elapsedMs: number;
  /** NaN if unknown. */
  computedMs: number;
  /** Such as "113x75"; of pictures, as what follows. */
  inputSize?: string;
  outputSize?: string;
  /** Empty if unknown. */
  consistencyDb?: string;
  model: string;
  /** That made it. */
  job?: Job;
  /** What became of transparency, if anything. */
  alpha: string;
}

interface Problem {
  title: string;
  advice: string;
  /** By the service, or empty. */
  told: string;
  canRetry: boolean;
  /** When it may go better; null if waiting alone does not help. */
  retryAfterS: number | null;
}

/** Of /model/metadata. */
interface Limits {
  max_pixels: number;
  max_side: number;
  max_upload_bytes: number;
  formats: string[];
  /** Of clips. */
  max_seconds?: number;
  max_frames: number;
  output_formats: string[];
}

interface Metadata {
  description: string;
  limits: Limits;
  /** None where there are no jobs. */
  jobs?: Limits;
  detail: { least: number; most: number };
  weights: { name: string; version: string; scale: number };
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

/** What is painted. Lengths are CSS pixels. */
interface Scene {
  view: Size;
  picture: Rectangle;
  before: CanvasImageSource | null;
  /** Null while there is no result. */
  after: CanvasImageSource | null;
  /** CSS pixels per pixel of the result. */
  zoom: number;
  dividerX: number;
  /** Whether the input is shown as squares. */
  hasPixels: boolean;
  loupeAt: Point | null;
}
