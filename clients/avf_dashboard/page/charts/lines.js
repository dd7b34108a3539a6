// Numbers of any kind, a strip a dimension: what was observed as dots, what was expected as a line within bands. These are
// between quantiles of the prediction, where there are any, so that they hold what they say; else within one and two
// deviations. Dimensions without a deviation are probabilities.
// @ts-check

import { calm } from "../dom.js";
import { short } from "../format.js";
import { whole } from "../trace.js";
import { crosshair, marks, Plot, Scale, stepAxis, valueAxis } from "./axes.js";
import { colours } from "./surface.js";

const STRIPS = 6; // dimensions at a time
const DOTS = 2.5; // pixels of a step from which on observations are dots

/**
 * Strips of a span with `size` dimensions, by their names, if they have any.
 * @param {Span} span
 * @param {{ size: number, names?: string[] | null }} options
 * @returns {Chart}
 */
export function lines(span, { size, names = null }) {
  const named = names ?? Array.from({ length: size }, (_, d) => `x${d}`);
  const scales = Array.from({ length: size }, () => new Scale());
  /** @type {Shown} */
  let shown = "prediction";
  let begin = 0;

  /** @type {Draw} */
  function draw(context, width, height) {
    const count = Math.min(STRIPS, size - begin);
    const each = (height - 20) / count;
    let moving = false;
    for (let i = 0; i < count; i++) {
      const d = begin + i;
      moving = scales[d].fit(...extent(span, d, shown), { still: calm() }) || moving;
      const layout = { ...scales[d].range, top: i * each + 8, bottom: height - (i + 1) * each + 4 };
      strip(context, new Plot(span, width, height, layout), d, shown, named[d]);
    }
    const frame = new Plot(span, width, height, { top: 0 });
    stepAxis(context, frame);
    marks(context, frame);
    return moving;
  }

  /** @param {string} value */
  function pick(value) {
    if (value === "more") begin = begin + STRIPS < size ? begin + STRIPS : 0;
    else shown = /** @type {Shown} */ (value);
  }
  /** @type {NonNullable<Chart["modes"]>} */
  const modes = [["prediction", "Expected"], ["likelihood", "Explained"]];
  if (size > STRIPS) modes.push(["more", "Others"]);
  /** @param {{ full: Full | null }} options */
  const read = ({ full }) => (full ? `${named[begin]}: observed ${value(full.observation, begin)}, expected ${short(full.prediction.mean[begin])}` : "");
  return { draw, pick, modes, read, heads: headsOf(named), rows: rowsOf(size), describe: () => describe(span, size) };
}

/**
 * @param {Float32Array | null | undefined} observation
 * @param {number} d
 */
const value = (observation, d) => (observation && Number.isFinite(observation[d]) ? short(observation[d]) : "nothing");

/**
 * The range of a dimension with its bands.
 * @param {Span} span
 * @param {number} d
 * @param {Shown} shown
 * @returns {[low: number, high: number]}
 */
function extent(span, d, shown) {
  let [low, high] = [Infinity, -Infinity];
  const [from, to] = span.seen;
  for (const { full } of span.trace.entries.slice(from, to)) {
    if (!full) continue;
    const [least, most] = between(full, d, shown, 0);
    low = Math.min(low, least);
    high = Math.max(high, most);
    const x = full.observation?.[d] ?? NaN;
    if (Number.isFinite(x)) [low, high] = [Math.min(low, x), Math.max(high, x)];
  }
  if (low > high) return [0, 1];
  const room = (high - low) * 0.08;
  return [low - room, high + room];
}

/**
 * The edges of a band of a dimension: the outer one, 0, or the inner one, 1.
 * @param {Full} full
 * @param {number} d
 * @param {Shown} shown
 * @param {number} which
 * @returns {[low: number, high: number]}
 */
function between(full, d, shown, which) {
  const { quantiles } = full;
  if (shown === "prediction" && quantiles) {
    const last = quantiles.levels.length - 1;
    const inner = Math.min(which, last >> 1);
    return [quantiles.values[inner][d], quantiles.values[last - inner][d]];
  }
  const { mean, deviation } = full[shown];
  const spread = (2 - which) * (deviation?.[d] ?? 0);
  return [mean[d] - spread, mean[d] + spread];
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {number} d
 * @param {Shown} shown
 * @param {string} name
 */
function strip(context, plot, d, shown, name) {
  const colour = colours();
  valueAxis(context, plot, { most: 2 });
  plot.clip(context, () => {
    crosshair(context, plot);
    for (const run of runs(plot.span)) {
      band(context, plot, run, d, shown, 0, colour.accent_faint);
      band(context, plot, run, d, shown, 1, colour.accent_soft);
      context.strokeStyle = colour.accent;
      context.lineWidth = 1.4;
      context.beginPath();
      for (const [at, full] of run) context.lineTo(plot.x(at + 0.5), plot.y(full[shown].mean[d]));
      context.stroke();
      observed(context, plot, run, d);
    }
  });
  context.fillStyle = colour.soft;
  context.textAlign = "left";
  context.textBaseline = "top";
  context.fillText(name, plot.left + 5, plot.top);
}

/**
 * Steps without a break, as [position, arrays].
 * @param {Span} span
 */
function runs(span) {
  const { entries } = span.trace;
  const [from, to] = span.seen;
  /** @type {[at: number, full: Full][][]} */
  const found = [];
  /** @type {[at: number, full: Full][]} */
  let run = [];
  for (let at = from; at < to; at++) {
    const { full, seq } = entries[at];
    if (run.length && (!full || seq === 1)) run = [];
    if (!full) continue;
    if (!run.length) found.push(run);
    run.push([at, full]);
  }
  return found;
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {[number, Full][]} run
 * @param {number} d
 * @param {Shown} shown
 * @param {number} which
 * @param {string} colour
 */
function band(context, plot, run, d, shown, which, colour) {
  if (!run[0][1][shown].deviation && !run[0][1].quantiles) return;
  context.fillStyle = colour;
  context.beginPath();
  /**
   * @param {[number, Full]} given
   * @param {0 | 1} side
   */
  const edge = ([at, full], side) => context.lineTo(plot.x(at + 0.5), plot.y(between(full, d, shown, which)[side]));
  run.forEach((step) => edge(step, 1));
  [...run].reverse().forEach((step) => edge(step, 0));
  context.fill();
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {[number, Full][]} run
 * @param {number} d
 */
function observed(context, plot, run, d) {
  context.fillStyle = colours().ink;
  const size = plot.step >= DOTS ? Math.min(2.4, plot.step / 3) : 0.7;
  for (const [at, { observation }] of run) {
    const x = observation?.[d] ?? NaN;
    if (!Number.isFinite(x)) continue;
    context.beginPath();
    context.arc(plot.x(at + 0.5), plot.y(x), size, 0, 7);
    context.fill();
  }
}

/** @param {string[]} names */
const headsOf = (names) => ["step", ...names.slice(0, STRIPS).map((name) => `${name}: observed, expected`)];
/** @type {(size: number) => Chart["rows"]} */
const rowsOf = (size) => (entries) =>
  whole(entries).map(({ seq, full }) => [
    String(seq),
    ...Array.from({ length: Math.min(size, STRIPS) }, (_, d) => {
      const deviation = full.prediction.deviation ? ` ± ${short(full.prediction.deviation[d])}` : "";
      return `${value(full.observation, d)}, ${short(full.prediction.mean[d])}${deviation}`;
    }),
  ]);

/**
 * @param {Span} span
 * @param {number} size
 */
function describe(span, size) {
  const entry = span.full;
  if (!entry) return "Observed and expected: no steps yet.";
  const parts = Array.from({ length: Math.min(size, STRIPS) }, (_, d) => `x${d} observed ${value(entry.full.observation, d)}, expected ${short(entry.full.prediction.mean[d])}`);
  return `Observed and expected. Step ${entry.seq}: ${parts.join("; ")}.`;
}
