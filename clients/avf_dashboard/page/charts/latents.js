// The belief: posterior means or deviations of every latent over steps, the most active on top. A latent is active where
// its posterior goes away from its prior: by the mean of the KL divergence that it has.
// @ts-check

import { short } from "../format.js";
import { whole } from "../trace.js";
import { crosshair, marks, Plot, stepAxis } from "./axes.js";
import { Cells, rgb } from "./cells.js";
import { colours } from "./surface.js";

const RECENT = 64; // steps with arrays that activity is taken of
const REORDER = 1_500; // milliseconds between new orders, so that rows can be followed
const MOST = 64; // latents drawn, at most
const LEAST = 12;
const ACTIVE = 0.01; // nats from which on a latent is drawn in any case

/**
 * KL of each latent, in nats, averaged over the last steps that have arrays.
 * @param {Span} span
 */
export function activity(span) {
  const [from, to] = span.seen;
  const some = whole(span.trace.entries.slice(from, to)).slice(-RECENT);
  if (!some.length) return null;
  const sums = new Float64Array(some[0].full.posterior.mean.length);
  for (const { full } of some) {
    const { prior, posterior } = full;
    for (let i = 0; i < sums.length; i++) {
      const ratio = (posterior.deviation[i] / prior.deviation[i]) ** 2;
      const shift = ((posterior.mean[i] - prior.mean[i]) / prior.deviation[i]) ** 2;
      sums[i] += 0.5 * (ratio + shift - 1 - Math.log(ratio));
    }
  }
  return sums.map((sum) => sum / some.length);
}

/** The order of latents by activity, as long as it is fresh. */
class Order {
  #at = -Infinity;
  /** @type {number[]} */
  found = [];

  /** @param {Span} span */
  of(span) {
    if (performance.now() - this.#at < REORDER && this.found.length) return this.found;
    const active = activity(span);
    if (active === null) return this.found;
    this.#at = performance.now();
    const count = active.reduce((sum, kl) => sum + (kl >= ACTIVE ? 1 : 0), 0);
    const shown = Math.max(LEAST, Math.min(MOST, count));
    this.found = [...active.keys()].sort((a, b) => active[b] - active[a]).slice(0, shown);
    return this.found;
  }
}

/**
 * A heat map of a span.
 * @param {Span} span
 * @returns {Chart}
 */
export function latents(span) {
  const cells = new Cells();
  const order = new Order();
  /** @type {"mean" | "deviation"} */
  let shown = "mean";

  /** @type {Draw} */
  function draw(context, width, height) {
    const rows = order.of(span);
    const plot = new Plot(span, width, height, { low: 0, high: rows.length || 1, left: 46, top: 20 });
    plot.clip(context, () => {
      heat(context, plot, cells, rows, shown);
      crosshair(context, plot);
    });
    names(context, plot, rows);
    stepAxis(context, plot);
    marks(context, plot);
    return false;
  }

  /** @param {"mean" | "deviation"} value */
  const pick = (value) => (shown = value);
  /** @param {{ full: Full | null }} options */
  const read = ({ full }) => {
    const i = order.found[0];
    return full && i !== undefined ? `z${i}: ${short(full.posterior.mean[i])} ± ${short(full.posterior.deviation[i])}` : "";
  };
  return {
    draw, pick, read, modes: [["mean", "Means"], ["deviation", "Deviations"]],
    heads: ["step", "most active latents: mean ± deviation"], rows: rowsOf(order), describe: () => describe(span, order),
  };
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Cells} cells
 * @param {number[]} rows
 * @param {"mean" | "deviation"} shown
 */
function heat(context, plot, cells, rows, shown) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  if (to <= from || !rows.length) return;
  const colour = colours();
  const [more, less] = [rgb(colour.accent), rgb(colour.warm)];
  const most = strongest(entries.slice(from, to), rows, shown);
  cells.begin(to - from, rows.length);
  for (let at = from; at < to; at++) {
    const values = entries[at].full?.posterior[shown];
    if (!values) continue;
    rows.forEach((latent, row) => {
      const value = values[latent] / most;
      cells.set(at - from, rows.length - 1 - row, value < 0 ? less : more, Math.sqrt(Math.abs(value)));
    });
  }
  cells.along(context, plot, from, plot.top, plot.bottom);
}

/**
 * @param {Entry[]} entries
 * @param {number[]} rows
 * @param {"mean" | "deviation"} shown
 */
function strongest(entries, rows, shown) {
  let most = 1e-6;
  for (const { full } of entries) {
    if (full) for (const latent of rows) most = Math.max(most, Math.abs(full.posterior[shown][latent]));
  }
  return most;
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {number[]} rows
 */
function names(context, plot, rows) {
  const high = (plot.bottom - plot.top) / Math.max(1, rows.length);
  const every = Math.ceil(13 / high);
  context.fillStyle = colours().soft;
  context.textAlign = "right";
  context.textBaseline = "middle";
  rows.forEach((latent, row) => {
    if (row % every === 0) context.fillText(`z${latent}`, plot.left - 7, plot.top + (row + 0.5) * high);
  });
}

/**
 * @param {Full} full
 * @param {number[]} some
 */
const figures = (full, some) => some.map((i) => `z${i} ${short(full.posterior.mean[i])} ± ${short(full.posterior.deviation[i])}`).join(", ");
/** @type {(order: Order) => Chart["rows"]} */
const rowsOf = (order) => (entries) =>
  whole(entries).map(({ seq, full }) => [String(seq), figures(full, order.found.slice(0, 6))]);

/**
 * @param {Span} span
 * @param {Order} order
 */
function describe(span, order) {
  const entry = span.full;
  if (!entry) return "Latents: no steps yet.";
  return `Posterior of the latents at step ${entry.seq}, most active first: ${figures(entry.full, order.of(span).slice(0, 6))}.`;
}
