// What is known of a session as a file: every step with its figures, and with its arrays where they were seen.

import { save } from "./dom.js";

const FIGURES = ["epoch", "seq", "at", "F", "reconstruction", "kl", "prior", "iterations", "surprise", "durability"];
const NAMES = ["epoch", "seq", "time", "free_energy", "reconstruction", "kl", "prior_free_energy", "iterations", "surprise", "durability"];

const text = (value) => (value === null || value === undefined || Number.isNaN(value) ? "" : String(value));

/** The lines of a CSV file; `arrays` adds observation, prediction and posterior, a column each number. */
export function csv(entries, { arrays = true } = {}) {
  const sizes = arrays ? entries.find((entry) => entry.full)?.full : null;
  const columns = sizes ? columnsOf(sizes) : [];
  const heads = [...NAMES, ...columns.map(([name]) => name)].join(",");
  const lines = entries.map((entry) =>
    [...FIGURES.map((name) => text(entry[name])), ...columns.map(([, of]) => text(entry.full ? of(entry.full) : null))].join(","),
  );
  return [heads, ...lines, ""].join("\n");
}

function columnsOf(full) {
  const each = (name, count, of) => Array.from({ length: count }, (_, i) => [`${name}_${i}`, (one) => of(one)?.[i]]);
  return [
    ...each("observation", full.prediction.mean.length, (one) => one.observation),
    ...each("prediction", full.prediction.mean.length, (one) => one.prediction.mean),
    ...each("posterior_mean", full.posterior.mean.length, (one) => one.posterior.mean),
    ...each("posterior_deviation", full.posterior.mean.length, (one) => one.posterior.deviation),
  ];
}

/** Have the browser keep it. */
export function saveCsv(entries, name) {
  save(new Blob([csv(entries)], { type: "text/csv" }), `${name}.csv`);
}
