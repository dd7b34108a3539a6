// The free energy of each step, split into reconstruction and KL, before the band of what is normal for the model.
// @ts-check

import { calm } from "../dom.js";
import { clock, nats, probability } from "../format.js";
import { crosshair, marks, Plot, Scale, stepAxis, valueAxis } from "./axes.js";
import { colours } from "./surface.js";

const BARS = 5; // pixels of a step from which on it is drawn as a bar
const SURPRISING = 0.01;
const FAR = 0.5; // of the highest: where even the lowest is above that, zero tells little

/**
 * A chart of figures over steps, for `Figure`. `normal` are the model's quantiles of F, or null.
 * @param {Span} span
 * @param {Wire.Quantiles | null} normal
 * @returns {Chart}
 */
export function energy(span, normal) {
  const scale = new Scale();
  let shown = "detail";
  const band = normal === null ? null : bandOf(normal);

  /** @type {Draw} */
  function draw(context, width, height) {
    const columns = binned(span, width);
    const [low, high] = range(columns, band, shown);
    const moving = scale.fit(low, high, { still: calm() });
    const plot = new Plot(span, width, height, { ...scale.range, top: 20 });
    valueAxis(context, plot);
    if (band) normalBand(context, plot, band);
    plot.clip(context, () => {
      crosshair(context, plot);
      (plot.step >= BARS ? bars : areas)(context, plot, columns);
      surprises(context, plot);
    });
    stepAxis(context, plot);
    marks(context, plot, { labels: true });
    return moving;
  }

  /** @param {string} value */
  const pick = (value) => void (shown = value);
  /** @type {Chart["modes"]} */
  const modes = [["detail", "Detail"], ["zero", "From 0"]];
  return { draw, pick, modes, rows, heads: HEADS, describe: () => describe(span) };
}

/** @typedef {{ low: number, high: number, text: string }} Band where a step is normal */
/** @typedef {{ at: number, wide: number, R: number, K: number, F: number, most: number }} Column means over steps */

/**
 * Between which free energies a step is normal, by quantiles within 5 to 95 %, and that in words.
 * @param {{ levels: number[], values: number[] }} options
 */
function bandOf({ levels, values }) {
  const first = Math.max(0, levels.findIndex((level) => level >= 0.05));
  const last = levels.reduce((found, level, i) => (level <= 0.95 ? i : found), levels.length - 1);
  /** @param {number} i */
  const percent = (i) => Math.round(levels[i] * 100);
  return { low: values[first], high: values[last], text: `normal: ${percent(first)} to ${percent(last)} %` };
}

/**
 * Means over the steps of a pixel where there are many: {at, wide, R, K, F, most}.
 * @param {Span} span
 * @param {number} width
 */
function binned(span, width) {
  const { entries } = span.trace;
  const [from, to] = span.seen;
  const each = Math.max(1, Math.ceil((span.width / Math.max(1, width)) * 1.5));
  const found = [];
  for (let at = from - (from % each); at < to; at += each) {
    let [n, R, K, most] = [0, 0, 0, -Infinity];
    for (let i = Math.max(at, from); i < Math.min(at + each, to); i++) {
      const entry = entries[i];
      n++;
      R += entry.reconstruction;
      K += entry.kl;
      if (entry.F > most) most = entry.F;
    }
    if (n) found.push({ at, wide: each, R: R / n, K: K / n, F: (R + K) / n, most });
  }
  return found;
}

/**
 * From zero, unless all is far above it: then, in detail, from a little below the lowest.
 * @param {Column[]} columns
 * @param {Band | null} band
 * @param {string} shown
 */
function range(columns, band, shown) {
  let low = band ? band.low : Infinity;
  let high = band ? band.high : -Infinity;
  for (const { R, F, most } of columns) {
    low = Math.min(low, R, F);
    high = Math.max(high, most);
  }
  if (low > high) return [0, 1];
  const base = shown === "detail" && low > FAR * high ? low - (high - low) * 0.3 : Math.min(0, low);
  return [base, high + (high - base) * 0.06];
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Band} band
 */
function normalBand(context, plot, band) {
  const colour = colours();
  const [top, bottom] = [Math.max(plot.top, plot.y(band.high)), Math.min(plot.bottom, plot.y(band.low))];
  context.fillStyle = colour.band;
  context.fillRect(plot.left, top, plot.right - plot.left, bottom - top);
  context.fillStyle = colour.soft;
  context.textAlign = "right";
  context.textBaseline = "bottom";
  context.fillText(band.text, plot.right - 4, top - 2);
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Column[]} columns
 */
function bars(context, plot, columns) {
  const colour = colours();
  const zero = Math.min(plot.bottom, plot.y(0));
  for (const { at, R, F } of columns) {
    const room = plot.wide(at);
    const wide = Math.max(1, room - Math.min(2, room * 0.2));
    const x = plot.x(at) + (room - wide) / 2;
    context.fillStyle = colour.accent;
    context.fillRect(x, Math.min(zero, plot.y(R)), wide, Math.abs(zero - plot.y(R)));
    context.fillStyle = colour.warm;
    context.fillRect(x, plot.y(F), wide, Math.max(0, plot.y(Math.max(R, 0)) - plot.y(F)));
  }
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Column[]} columns
 */
function areas(context, plot, columns) {
  const colour = colours();
  area(context, plot, columns, () => Math.max(0, plot.low), (column) => column.R, colour.accent_soft);
  area(context, plot, columns, (column) => column.R, (column) => column.F, colour.warm);
  context.strokeStyle = colour.accent;
  context.lineWidth = 1.4;
  context.beginPath();
  for (const column of columns) context.lineTo(plot.x(column.at + column.wide / 2), plot.y(column.F));
  context.stroke();
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Column[]} columns
 * @param {(column: Column) => number} low
 * @param {(column: Column) => number} high
 * @param {string} colour
 */
function area(context, plot, columns, low, high, colour) {
  context.fillStyle = colour;
  context.beginPath();
  for (const column of columns) context.lineTo(plot.x(column.at + column.wide / 2), plot.y(high(column)));
  for (let i = columns.length - 1; i >= 0; i--) {
    context.lineTo(plot.x(columns[i].at + columns[i].wide / 2), plot.y(low(columns[i])));
  }
  context.fill();
}

/**
 * @param {Context} context
 * @param {Plot} plot
 */
function surprises(context, plot) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  context.fillStyle = colours().alert;
  for (let at = from; at < to; at++) {
    const { surprise, F } = entries[at];
    if (surprise === null || surprise >= SURPRISING) continue;
    context.beginPath();
    context.arc(plot.x(at + 0.5), Math.max(plot.top + 1, plot.y(F) - 6), 2.4, 0, 7);
    context.fill();
  }
}

const HEADS = ["epoch", "step", "time", "free energy", "reconstruction", "KL", "p-value"];
/** @param {Entry[]} entries */
const rows = (entries) =>
  entries.map((e) => [
    String(e.epoch), String(e.seq), clock(e.at), nats(e.F), nats(e.reconstruction), nats(e.kl), probability(e.surprise),
  ]);

/** @param {Span} span */
function describe(span) {
  const [from, to] = span.seen;
  const seen = span.trace.entries.slice(from, to);
  if (!seen.length) return "Free energy: no steps yet.";
  const mean = seen.reduce((sum, entry) => sum + entry.F, 0) / seen.length;
  const most = seen.reduce((a, b) => (b.F > a.F ? b : a));
  const marks = span.trace.marks.map((mark) => `step ${mark.seq}: ${mark.text}`);
  const words = marks.length ? ` Marks: ${marks.slice(-8).join("; ")}.` : "";
  return `Free energy of ${seen.length} steps: mean ${nats(mean)} nats, most ${nats(most.F)} at step ${most.seq}.${words}`;
}
