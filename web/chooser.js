/** The choice of a size and a model, and what they make of the selected picture. */

import { byId, newElement, on, say, writeIn } from "./dom.js";
import { timeOf } from "./estimates.js";
import { describe, modelFor, mostScale, nameWithCost, usableModels } from "./model.js";
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
const models = byId("model");

let wanted = {}; // that is sent; empty for the usual size
let model; // name that is sent; undefined for the default one
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
models.onchange = () => {
  const before = model;
  model = models.selectedIndex ? models.value : undefined;
  on.model(picture && canChangeSize(picture) ? picture : null, before);
  showChoice();
};
byId("sizes").onsubmit = (e) => e.preventDefault();

/** Returns the chosen size, as fields of options. @returns {Wanted} */
export function chosenSize() {
  return wanted;
}

/** Returns the name of the chosen model; undefined for the default one. */
export function chosenModel() {
  return model;
}

/** Shows the choices for a picture; null if there is none. */
export function showChoices(shown, loaded) {
  if (loaded !== metadata) models.replaceChildren(...usableModels(loaded).map(newModelOption));
  [picture, metadata] = [shown, loaded];
  const isFree = shown && canChangeSize(shown);
  if (isFree) ({ model } = shown.options);
  const asked = isFree ? sizeIn(shown.options) : wanted;
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

function newModelOption(offered) {
  return newElement("option", { value: offered.name, textContent: nameWithCost(offered) });
}

/** Returns the factor of results without a size. */
function usualScale() {
  return metadata && modelFor({ model }, metadata).scale;
}

/** Sets the size, and asks for the selected picture in it. */
function choose(next) {
  const isUsual = next.scale === usualScale();
  wanted = isUsual ? {} : next;
  if (picture && !isSame(wanted, sizeIn(picture.options))) on.size(picture);
}

function fillCustom() {
  const { scale = "", width = "", height = "" } = wanted;
  const isUsual = isSame(wanted, {});
  factor.value = isUsual ? usualScale() : scale;
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
  showModel();
  custom.hidden = !isTyped;
  fit.disabled = sides.some(({ value }) => !value);
  showButtons(isFree, isTyped);
  const problem = isTyped ? reasonAgainst(readCustom()) : "";
  for (const input of numbers) input.setAttribute("aria-invalid", Boolean(problem && input.value));
  note.toggleAttribute("data-bad", Boolean(problem));
  writeIn(note, problem || noteWords(isTyped ? readCustom() : wanted));
}

function showModel() {
  byId("model-field").hidden = models.length < 2;
  if (!metadata) return;
  const chosen = modelFor({ model }, metadata);
  models.value = chosen.name;
  factor.max = mostScale(chosen);
  writeIn(byId("model-note"), models.selectedIndex ? describe(chosen, models.options[0].value) : "");
}

/** Shows which size is chosen, and disables those that the picture cannot have. */
function showButtons(isFree, isTyped) {
  const usual = usualScale();
  const chosen = isTyped ? CUSTOM : String(isFree && (wanted.scale ?? usual));
  const possible = metadata && offersFor(isFree ? picture : null, metadata, { model });
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
  const grid = resultGrid(next, picture, usualScale());
  const becomes = say("size-becomes", { from: size(picture.size), to: size(grid) });
  const { estimate } = picture;
  const time = estimate && isActive(picture) && timeWords(estimate);
  return [becomes, next.scale === 1 && say("size-kept"), time].filter(Boolean).join(" ");
}

/** Returns what is known of a result if the size of the input is not, in words. */
function factorWords({ scale, width, height }) {
  if (width || height) return "";
  if (scale === 1) return say("size-kept");
  return say("size-times", { scale: scale ?? usualScale() });
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
