// What the particles say of each step: the evidence bound as a line over the free energy, and how many of them count.
// @ts-check

import { calm } from "../dom.js";
import { nats, short } from "../format.js";
import { crosshair, marks, Plot, Scale, stepAxis, valueAxis } from "./axes.js";
import { colours } from "./surface.js";

/**
 * A chart of a span.
 * @param {Span} span
 * @returns {Chart}
 */
export function evidence(span) {
  const [bounds, counts] = [new Scale(), new Scale()];

  /** @type {Draw} */
  function draw(context, width, height) {
    const seen = span.trace.entries.slice(...span.seen);
    const half = Math.round(height * 0.55);
    const still = { still: calm() };
    const moving = bounds.fit(...extent(seen.flatMap((entry) => [entry.bound, entry.F])), still);
    const also = counts.fit(0, Math.max(1, ...seen.map((entry) => entry.effective).filter(Number.isFinite)) * 1.1, still);
    const above = new Plot(span, width, height, { ...bounds.range, bottom: height - half + 8 });
    const below = new Plot(span, width, height, { ...counts.range, top: half + 8 });
    const colour = colours();
    valueAxis(context, above, { most: 3 });
    valueAxis(context, below, { most: 2 });
    line(context, above, (entry) => entry.F, colour.accent_soft);
    line(context, above, (entry) => entry.bound, colour.accent);
    line(context, below, (entry) => entry.effective, colour.warm);
    label(context, above, "evidence bound, over F, nats");
    label(context, below, "effective particles");
    stepAxis(context, below);
    marks(context, below);
    return moving || also;
  }

  /** @param {Entry} entry */
  const read = (entry) => `bound ${nats(entry.bound)} nats, ${short(entry.effective)} particles count`;
  return { draw, read, heads: HEADS, rows, describe: () => describe(span) };
}

/** @param {number[]} values */
function extent(values) {
  const known = values.filter(Number.isFinite);
  /** @type {[number, number]} */
  const range = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  return range;
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {(entry: Entry) => number} of
 * @param {string} colour
 */
function line(context, plot, of, colour) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  plot.clip(context, () => {
    crosshair(context, plot);
    context.strokeStyle = colour;
    context.lineWidth = 1.4;
    context.beginPath();
    for (let at = from; at < to; at++) {
      const value = of(entries[at]);
      if (Number.isFinite(value)) context.lineTo(plot.x(at + 0.5), plot.y(value));
    }
    context.stroke();
  });
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {string} text
 */
function label(context, plot, text) {
  context.fillStyle = colours().soft;
  context.textAlign = "left";
  context.textBaseline = "top";
  context.fillText(text, plot.left + 5, plot.top);
}

const HEADS = ["step", "evidence bound", "free energy", "effective particles"];
/** @param {Entry[]} entries */
const rows = (entries) => entries.map((entry) => [String(entry.seq), nats(entry.bound), nats(entry.F), short(entry.effective)]);

/** @param {Span} span */
function describe(span) {
  const seen = span.trace.entries.slice(...span.seen).filter((entry) => Number.isFinite(entry.bound));
  if (!seen.length) return "Evidence: no steps yet.";
  /** @param {(entry: Entry) => number} of */
  const mean = (of) => seen.reduce((sum, entry) => sum + of(entry), 0) / seen.length;
  return `Evidence bound of ${seen.length} steps: mean ${nats(mean((entry) => entry.bound))} nats; ${short(mean((entry) => entry.effective))} particles count.`;
}
