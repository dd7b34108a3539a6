// What is known of a session as a file: every step with its figures, and with its arrays where they were seen.
// @ts-check

import { save } from "./dom.js";

/** @typedef {(full: Full) => Float32Array | null | undefined} Of numbers of an estimate */

const FIGURES = /** @type {const} */ (["epoch", "seq", "at", "F", "reconstruction", "kl", "prior", "iterations", "surprise", "durability"]);
const NAMES = ["epoch", "seq", "time", "free_energy", "reconstruction", "kl", "prior_free_energy", "iterations", "surprise", "durability"];

/** @param {unknown} value */
const text = (value) => (value === null || value === undefined || Number.isNaN(value) ? "" : String(value));

/**
 * The lines of a CSV file; `arrays` adds observation, prediction and posterior, a column each number.
 * @param {Entry[]} entries
 * @param {{ arrays?: boolean }} [options]
 */
export function csv(entries, { arrays = true } = {}) {
  const sizes = arrays ? entries.find((entry) => entry.full)?.full : null;
  const columns = sizes ? columnsOf(sizes) : [];
  const heads = [...NAMES, ...columns.map(([name]) => name)].join(",");
  const lines = entries.map((entry) =>
    [...FIGURES.map((name) => text(entry[name])), ...columns.map(([, of]) => text(entry.full ? of(entry.full) : null))].join(","),
  );
  return [heads, ...lines, ""].join("\n");
}

/** @param {Full} full */
function columnsOf(full) {
  /** @type {(name: string, count: number, of: Of) => [string, (one: Full) => number | undefined][]} */
  const each = (name, count, of) => Array.from({ length: count }, (_, i) => [`${name}_${i}`, (one) => of(one)?.[i]]);
  return [
    ...each("observation", full.prediction.mean.length, (one) => one.observation),
    ...each("prediction", full.prediction.mean.length, (one) => one.prediction.mean),
    ...each("posterior_mean", full.posterior.mean.length, (one) => one.posterior.mean),
    ...each("posterior_deviation", full.posterior.mean.length, (one) => one.posterior.deviation),
  ];
}

/**
 * Have the browser keep it.
 * @param {Entry[]} entries
 * @param {string} name
 */
export function saveCsv(entries, name) {
  save(new Blob([csv(entries)], { type: "text/csv" }), `${name}.csv`);
}
