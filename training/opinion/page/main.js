/** Leads a rater from the consent over the examples to the last answer. */

import { byId, newElement, say, write } from "./dom.js";
import { cssPixels, dotSide, freeSpace, isPinched, isScrolled, showPicture } from "./picture.js";
import { Failure, forgetPictures, loadPictures, request, setCode } from "./requests.js";

const GREY_MS = 300; // without a picture between two of them, so that they cannot be flickered
const LEAST_MS = 300; // an answer that comes sooner was meant for the picture before
const SECONDS_EACH = { absolute: 6, pairs: 8 };
const SECTIONS = ["start", "conditions", "rate", "done"];
const OLD_TAB = 409; // status: the question was answered in another tab
const UNKNOWN = 401; // status: the code is not valid any more

let trial = null;
let code = "";
let question = 0; // index of the next one
let example = 0; // index of the next one
let shown = null; // {path, pictures, part, seen, since} of what can be answered
let isBusy = false; // while an answer is sent or pictures are loaded

function open(section) {
  for (const id of SECTIONS) byId(id).hidden = id !== section;
  byId("code-field").hidden = !code;
  byId("leave").hidden = !code;
  document.body.dataset.section = section;
  byId(section).querySelector("h2").focus();
}

function showNotice(message) {
  write("notice", message);
  byId("notice").hidden = !message;
}

/** Runs a step; tells what went wrong. */
async function attempt(step) {
  showNotice("");
  isBusy = true;
  try {
    await step();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.status === UNKNOWN) await leave();
    showNotice(error.status ? error.message : say("offline"));
  } finally {
    isBusy = false;
  }
}

// Start

async function start() {
  trial = await request("GET", "api/trial");
  byId("consent").replaceChildren(
    ...trial.consent.split("\n").map((line) => newElement("p", { textContent: line })),
  );
  const { examples, questions, design } = trial;
  const minutes = Math.ceil((questions * SECONDS_EACH[design]) / 60);
  write("amount", say("amount-text", { examples: examples.length, questions, minutes }));
  for (const [name, choices] of Object.entries(trial.choices)) {
    byId(name).replaceChildren(...["", ...choices].map((value) => new Option(value, value)));
  }
  makeAnswers();
  const stored = location.hash.slice(1);
  if (stored) await resume(stored);
  else open("start");
}

function makeAnswers() {
  const values = trial.design === "pairs" ? [1, 0, 2] : [1, 2, 3, 4, 5];
  byId("answers").replaceChildren(
    ...values.map((value) => {
      const button = newElement("button", { type: "button" });
      button.append(
        newElement("kbd", { textContent: value }),
        newElement("span", { textContent: say(`${trial.design}-${value}`) }),
      );
      button.onclick = () => answer(value);
      return button;
    }),
  );
  byId("parts").hidden = trial.design !== "pairs";
  write("keys", say(`keys-${trial.design}`));
}

function setRater(value) {
  code = value.replaceAll("-", "").toUpperCase();
  setCode(code);
  write("code", `${code.slice(0, 5)}-${code.slice(5)}`);
  history.replaceState(null, "", code ? `#${code}` : location.pathname);
}

async function resume(value) {
  setRater(value);
  ({ question } = await request("GET", "api/rater"));
  example = question ? trial.examples.length : 0;
  await showNext();
}

async function leave() {
  setRater("");
  shown = null;
  showPicture(null);
  open("start");
}

// Conditions

function showConditions() {
  const side = dotSide();
  const dots = side === 1 ? say("dots-1") : say("dots-many", { side });
  write("shown-as", say("shown-as-text", { dots }));
  const free = freeSpace(trial.design);
  const width = cssPixels(trial.width);
  const height = cssPixels(trial.height);
  const isFitting = width <= free.width && height <= free.height;
  const sizes = { needed: sizeText(width, height), free: sizeText(free.width, free.height) };
  write("fits", say(isFitting ? "fits-text" : "too-large-text", sizes));
}

function sizeText(width, height) {
  return `${Math.round(width)} × ${Math.round(height)}`;
}

async function enrol() {
  const chosen = Object.keys(trial.choices).map((name) => [name, byId(name).value]);
  const body = { consent: true, ...Object.fromEntries(chosen) };
  setRater((await request("POST", "api/raters", body)).code);
  question = example = 0;
  await showNext();
}

// Questions

async function showNext() {
  if (example < trial.examples.length) {
    const names = { number: example + 1, count: trial.examples.length };
    const value = trial.examples[example];
    const gaps = { answer: textOf(value), value };
    write("instruction", say(`practice-${trial.design}`, gaps));
    await show(`api/examples/${example}`, say("example-text", names), example / names.count);
  } else if (question < trial.questions) {
    const names = { number: question + 1, count: trial.questions };
    write("instruction", say(`question-${trial.design}`));
    const title = say(`position-${trial.design}`, names);
    await show(`api/questions/${question}`, title, question / names.count);
  } else {
    showPicture(null);
    open("done");
  }
}

async function show(path, title, progress) {
  showPicture(null);
  if (shown) void forgetPictures(shown.path);
  shown = null;
  write("position", title);
  write("status", title);
  byId("progress").value = progress;
  if (byId("rate").hidden) open("rate");
  const [pictures] = await Promise.all([load(path), pause(GREY_MS)]);
  shown = { path, pictures, part: 0, seen: new Set(), since: 0 };
  showPart(0);
  shown.since = performance.now();
  if (isScrolled()) write("instruction", `${byId("instruction").textContent} ${say("scroll-text")}`);
  if (path.includes("questions") && question + 1 < trial.questions) {
    load(`api/questions/${question + 1}`).catch(() => {}); // ahead; it is tried again when needed
  }
}

function load(path) {
  return loadPictures(path, trial.design === "pairs" ? 2 : 1);
}

function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}

function showPart(part) {
  shown.part = part;
  for (const button of byId("parts").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.part) === part));
  }
  showPicture(shown.pictures[part]);
  shown.seen.add(part);
}

function textOf(value) {
  return say(`${trial.design}-${value}`);
}

async function answer(value) {
  if (isBusy) return;
  if (!shown) return attempt(showNext); // its pictures could not be loaded
  if (performance.now() - shown.since < LEAST_MS) return;
  if (isPinched()) return showNotice(say("pinched"));
  if (shown.seen.size < shown.pictures.length) return showNotice(say("look-at-both"));
  await attempt(example < trial.examples.length ? () => practise(value) : () => send(value));
}

async function practise(value) {
  const expected = trial.examples[example];
  if (value !== expected) {
    return showNotice(say("practice-wrong", { answer: textOf(expected) }));
  }
  example += 1;
  await showNext();
}

async function send(value) {
  const body = {
    value,
    duration_ms: Math.round(performance.now() - shown.since),
    pixel_ratio: devicePixelRatio,
  };
  try {
    ({ question } = await request("PUT", `api/answers/${question}`, body));
  } catch (error) {
    if (error.status !== OLD_TAB) throw error;
    ({ question } = await request("GET", "api/rater"));
    await showNext();
    throw error;
  }
  await showNext();
}

async function withdraw() {
  await request("DELETE", "api/rater");
  await leave();
  showNotice(say("deleted"));
}

// Events

byId("agree").onsubmit = (event) => {
  event.preventDefault();
  open("conditions");
  showConditions();
};
byId("resume").onsubmit = (event) => {
  event.preventDefault();
  const value = byId("resume-code").value.trim();
  if (value.replaceAll("-", "").length !== 10) return showNotice(say("full-code"));
  void attempt(() => resume(value));
};
byId("choose").onsubmit = (event) => {
  event.preventDefault();
  void attempt(enrol);
};
for (const button of byId("parts").children) {
  button.onclick = () => shown && showPart(Number(button.dataset.part));
}
byId("withdraw").onclick = () => byId("confirm").showModal();
byId("confirm").onclose = () => {
  if (byId("confirm").returnValue === "delete") void attempt(withdraw);
};

addEventListener("resize", () => byId("conditions").hidden || showConditions());

addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (byId("rate").hidden || byId("confirm").open) return;
  const value = Number(event.key);
  if (/^\d$/.test(event.key) && (trial.design === "pairs" ? value <= 2 : value >= 1 && value <= 5)) {
    void answer(value);
  }
  const part = { ArrowLeft: 0, ArrowRight: 1 }[event.key];
  if (part === undefined || trial.design !== "pairs" || !shown) return;
  if (event.target === byId("stage") && isScrolled()) return; // the arrows scroll it
  event.preventDefault();
  showPart(part);
});

await attempt(start);
