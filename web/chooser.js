/** The choice of a size, and what it makes of the selected picture. */

import { byId, newElement, on, say, writeIn } from "./dom.js";
import { timeOf } from "./estimates.js";
import { isActive } from "./picture.js";
import { SCALES, canChangeSize, objection, offersFor, resultGrid, sizeIn } from "./size.js";
import { seconds, size } from "./wording.js";

const CUSTOM = "custom";

const field = byId("size-field");
const custom = byId("custom");
const fit = byId("fit");
const note = byId("size-note");
const [factor, ...sides] = ["scale", "width", "height"].map(byId);
const numbers = [factor, ...sides];
const buttons = [...byId("size-buttons").children];
const offerButtons = byId("offers");

let wanted = {}; // that is sent; empty for the usual size
let isCustom = false;
let picture = null; // the selected one
let metadata = null;
let shownOffers = null;

byId("size-buttons").onclick = ({ target: { dataset } }) => {
  isCustom = dataset.scale === CUSTOM;
  if (isCustom) fillCustom();
  else if (dataset.scale) choose({ scale: Number(dataset.scale) });
  showChoice();
};
custom.oninput = ({ target }) => {
  if (target.value && numbers.includes(target)) {
    for (const other of target === factor ? sides : [factor]) other.value = "";
  }
  showChoice();
};
custom.onchange = () => reasonAgainst(readCustom()) || choose(readCustom());
byId("sizes").onsubmit = (e) => e.preventDefault();

/** Returns the chosen size, as fields of options. @returns {Wanted} */
export function chosenSize() {
  return wanted;
}

/** Shows the choice for a picture; null if there is none. */
export function showSizes(shown, loaded) {
  [picture, metadata] = [shown, loaded];
  const asked = shown && canChangeSize(shown) ? sizeIn(shown.options) : wanted;
  if (!isSame(asked, wanted)) {
    wanted = asked;
    isCustom = !isSame(asked, {}) && !SCALES.includes(asked.scale);
    if (isCustom) fillCustom();
  }
  showChoice();
}

function isSame(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Sets the size, and asks for the selected picture in it. */
function choose(next) {
  const isUsual = next.scale === metadata?.weights.scale;
  wanted = isUsual ? {} : next;
  if (picture && !isSame(wanted, sizeIn(picture.options))) on.size(picture);
}

function fillCustom() {
  const { scale = "", width = "", height = "" } = wanted;
  const isUsual = isSame(wanted, {});
  factor.value = isUsual ? metadata?.weights.scale : scale;
  [sides[0].value, sides[1].value] = [width, height];
  fit.value = wanted.fit ?? "contain";
}

/** Returns the size in the fields. @returns {Wanted} */
function readCustom() {
  const filled = numbers.filter(({ value }) => value);
  const read = Object.fromEntries(filled.map(({ id, value }) => [id, Number(value)]));
  return fit.value === "cover" && filled.length === 2 ? { ...read, fit: fit.value } : read;
}

function reasonAgainst(next) {
  const wrong = numbers.find((input) => !input.validity.valid);
  if (wrong) return wrong.validationMessage;
  return picture?.size && metadata ? objection(next, picture, metadata) : "";
}

function showChoice() {
  const isFree = !picture || canChangeSize(picture);
  const isTyped = isFree && isCustom;
  field.disabled = !isFree;
  custom.hidden = !isTyped;
  fit.disabled = sides.some(({ value }) => !value);
  showButtons(isFree, isTyped);
  const problem = isTyped ? reasonAgainst(readCustom()) : "";
  for (const input of numbers) input.setAttribute("aria-invalid", Boolean(problem && input.value));
  note.toggleAttribute("data-bad", Boolean(problem));
  writeIn(note, problem || noteWords(isTyped ? readCustom() : wanted));
}

/** Shows which size is chosen, and disables those that the picture cannot have. */
function showButtons(isFree, isTyped) {
  const usual = metadata?.weights.scale;
  const chosen = isTyped ? CUSTOM : String(isFree && (wanted.scale ?? usual));
  const possible = metadata && offersFor(isFree ? picture : null, metadata);
  for (const button of buttons) {
    const { scale } = button.dataset;
    button.setAttribute("aria-pressed", scale === chosen);
    const isPossible = !possible || possible.some((offer) => String(offer.scale) === scale);
    button.disabled = scale !== CUSTOM && !isPossible;
    button.hidden = scale === "1" && !metadata?.restore.most;
  }
}

/** Returns what a size makes of the selected picture, in words. */
function noteWords(next) {
  if (!picture) return next.scale === 1 ? say("size-kept") : "";
  if (!metadata || !canChangeSize(picture)) return "";
  if (!picture.size) return picture.isClip ? factorWords(next) : "";
  const grid = resultGrid(next, picture, metadata.weights.scale);
  const becomes = say("size-becomes", { from: size(picture.size), to: size(grid) });
  const { estimate } = picture;
  const time = estimate && isActive(picture) && timeWords(estimate);
  return [becomes, next.scale === 1 && say("size-kept"), time].filter(Boolean).join(" ");
}

/** Returns what is known of a result if the size of the input is not, in words. */
function factorWords({ scale, width, height }) {
  if (width || height) return "";
  if (scale === 1) return say("size-kept");
  return say("size-times", { scale: scale ?? metadata.weights.scale });
}

/** Shows the sizes that a problem offers. Their buttons stay, or they would lose the focus. */
export function showOffers(shown) {
  const offers = shown?.problem?.offers ?? [];
  if (offers !== shownOffers) offerButtons.replaceChildren(...offers.map(newOfferButton));
  shownOffers = offers;
  offers.forEach((offer, index) => writeIn(offerButtons.children[index], offerWords(offer)));
}

function newOfferButton({ scale }) {
  const onclick = () => {
    isCustom = false;
    choose({ scale });
  };
  return newElement("button", { type: "button", onclick });
}

function offerWords({ scale, grid, estimate }) {
  const text = say(scale === 1 ? "offer-kept" : "offer", { scale, size: size(grid) });
  return estimate ? `${text} ${timeWords(estimate)}` : text;
}

/** Returns how long a picture takes, and whether that is too long. */
function timeWords(estimate) {
  const [time, most] = [timeOf(estimate), 1000 * estimate.deadline_seconds];
  const takes = say("takes", { time: seconds(time) });
  return time > most ? `${takes} ${say("takes-long", { most: seconds(most) })}` : takes;
}
