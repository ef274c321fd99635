/** The models of the service, and what options become with another one: docs/serving-models.md. */

import { say } from "./dom.js";
import { decimal } from "./wording.js";

const FULL_DETAIL = 1;
const PASSES = 2; // of a network at most

/** Returns the models that can be used, the default one first. @returns {Model[]} */
export function usableModels({ models }) {
  return models.filter(({ error }) => !error);
}

/** Returns the model that options ask for. @returns {Model} */
export function modelFor({ model }, metadata) {
  const usable = usableModels(metadata);
  return usable.find(({ name }) => name === model) ?? usable[0];
}

/** Returns the highest factor of results of a model. */
export function mostScale({ scale }) {
  return scale ** PASSES;
}

/** Returns options with another model. What it lacks, or does by itself, has its default there. */
export function withModel(options, name, metadata) {
  const { model: _, ...others } = options;
  const [before, after] = [modelFor(options, metadata), modelFor({ model: name }, metadata)];
  if (!after.detail) others.detail = FULL_DETAIL;
  if (after.restore !== before.restore) others.restore = after.restore;
  return after === usableModels(metadata)[0] ? others : { ...others, model: after.name };
}

/** Returns the name of a model, with its cost. */
export function nameWithCost(model) {
  const times = timesAsLong(model);
  return times ? say("model-cost", { ...model, times }) : model.name;
}

/** Returns what a model is, and how long it takes beside the default one. */
export function describe(model, usual) {
  const times = timesAsLong(model);
  const cost = times && say("model-takes", { times, usual });
  return [model.description, cost].filter(Boolean).join(" ");
}

/** Returns how many times as long as the default one a model takes; "" if about as long. */
function timesAsLong({ cost }) {
  const times = cost < 10 ? cost.toFixed(1) : cost.toFixed();
  return times === "1.0" ? "" : decimal(Number(times));
}
