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
  file: File;
  /** That is wanted. */
  detail: number;
  stage: Stage;
  /** Empty where there is none to tell. */
  progress: Partial<Progress>;
  /** When the stage began, ms of `performance.now()`. */
  since: number;
  /** When the next try is due, ms of `Date.now()`. */
  retryAt: number;
  /** Null if this browser cannot show the file. */
  before: HTMLImageElement | null;
  /** Null if there is no result, or it cannot be shown. */
  after: HTMLImageElement | null;
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
}

interface Wish {
  detail: number;
  format: string;
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
  /** Such as "113x75". */
  inputSize: string;
  outputSize: string;
  model: string;
  /** Empty if unknown. */
  consistencyDb: string;
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
}

interface Metadata {
  description: string;
  limits: Limits;
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
