// What inference gained: the free energy after each iteration, from the prior on, of the step shown and as the mean of
// the steps that can be seen.
// @ts-check

import { nats, ticks } from "../format.js";
import { whole } from "../trace.js";
import { colours } from "./surface.js";

/**
 * F by iteration, for a span.
 * @param {Span} span
 * @returns {Chart}
 */
export function iterations(span) {
  /** @type {Draw} */
  function draw(context, width, height) {
    const entry = span.full;
    if (!entry) return false;
    const mean = means(span, entry.full.energies.length);
    const all = [...entry.full.energies, ...mean];
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const room = (high - low) * 0.12 || 0.5;
    const place = placing({ width, height, low: low - room, high: high + room, count: entry.full.energies.length });
    axes(context, place, { width, height, low: low - room, high: high + room });
    curve(context, place, mean, { colour: colours().soft, dash: [3, 3] });
    curve(context, place, entry.full.energies, { colour: colours().accent, dots: true });
    return false;
  }

  /** @param {{ full: Full | null }} options */
  const read = ({ full }) => (full ? `prior ${nats(full.energies[0])} → ${nats(full.energies[full.energies.length - 1])} nats` : "");
  return { draw, read, rows, heads: ["step", "from the prior, iteration by iteration"], describe: () => describe(span) };
}

/** @param {Entry[]} entries */
const rows = (entries) => whole(entries).map(({ seq, full }) => [String(seq), full.energies.map(nats).join(" → ")]);

/**
 * @param {Span} span
 * @param {number} count
 */
function means(span, count) {
  const [from, to] = span.seen;
  const some = whole(span.trace.entries.slice(from, to)).filter(({ full }) => full.energies.length === count);
  return Array.from({ length: count }, (_, i) => some.reduce((sum, { full }) => sum + full.energies[i], 0) / some.length);
}

/** @param {{ width: number, height: number, low: number, high: number, count: number }} options */
function placing({ width, height, low, high, count }) {
  /** @param {number} i */
  const x = (i) => 54 + (i / Math.max(1, count - 1)) * (width - 74);
  /** @param {number} value */
  const y = (value) => height - 22 - ((value - low) / (high - low)) * (height - 34);
  return { x, y, count };
}

/**
 * @param {Context} context
 * @param {{ x: (i: number) => number, y: (value: number) => number, count: number }} options
 * @param {{ width: number, low: number, high: number, height: number }} options
 */
function axes(context, { x, y, count }, { width, low, high, height }) {
  const colour = colours();
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of ticks(low, high, 3)) {
    context.fillStyle = colour.line;
    context.fillRect(46, Math.round(y(value)), width - 56, 1);
    context.fillStyle = colour.soft;
    context.fillText(String(value), 39, y(value));
  }
  context.textAlign = "center";
  context.textBaseline = "bottom";
  const every = Math.ceil(count / 12);
  for (let i = 0; i < count; i += every) context.fillText(i === 0 ? "prior" : String(i), x(i), height - 2);
}

/**
 * @param {Context} context
 * @param {{ x: (i: number) => number, y: (value: number) => number }} options
 * @param {number[]} values
 * @param {{ colour: string, dash?: number[], dots?: boolean }} options
 */
function curve(context, { x, y }, values, { colour, dash = [], dots = false }) {
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.6;
  context.setLineDash(dash);
  context.beginPath();
  values.forEach((value, i) => context.lineTo(x(i), y(value)));
  context.stroke();
  context.setLineDash([]);
  if (!dots) return;
  values.forEach((value, i) => {
    context.beginPath();
    context.arc(x(i), y(value), 3, 0, 7);
    context.fill();
  });
}

/** @param {Span} span */
function describe(span) {
  const entry = span.full;
  if (!entry) return "Free energy by iteration: no steps yet.";
  return `Free energy by iteration, step ${entry.seq}: ${entry.full.energies.map(nats).join(", ")} nats.`;
}
