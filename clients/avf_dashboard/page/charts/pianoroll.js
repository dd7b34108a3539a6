// Music: the keys that were heard over those that were expected. The fill of a cell is the probability that the model
// gave the key, a ring is a key that sounded; a ring in the colour of alarm was hardly expected.
// @ts-check

import { note } from "../format.js";
import { whole } from "../trace.js";
import { crosshair, marks, Plot, Scale, stepAxis } from "./axes.js";
import { Cells, rgb } from "./cells.js";
import { colours } from "./surface.js";
import { calm } from "../dom.js";

const SOUNDS = 0.5;
const LIKELY = 0.2;
const UNEXPECTED = 0.1;
const FAINT = 0.02;

/**
 * A piano roll of a span. `first` is the MIDI pitch of the lowest key.
 * @param {Span} span
 * @param {{ first: number }} options
 * @returns {Chart}
 */
export function pianoroll(span, { first }) {
  const cells = new Cells();
  const scale = new Scale();
  /** @type {Shown} */
  let shown = "prediction";

  /** @type {Draw} */
  function draw(context, width, height) {
    const [low, high] = keys(span);
    const moving = scale.fit(low - 2, high + 3, { still: calm() });
    const plot = new Plot(span, width, height, { ...scale.range, left: 46 });
    keyboard(context, plot, first);
    plot.clip(context, () => {
      crosshair(context, plot);
      probabilities(context, plot, cells, shown);
      rings(context, plot, shown);
    });
    stepAxis(context, plot);
    marks(context, plot);
    return moving;
  }

  /** @param {Shown} value */
  const pick = (value) => (shown = value);
  /** @type {Chart["modes"]} */
  const modes = [["prediction", "Expected"], ["likelihood", "Explained"]];
  /** @param {Entry} entry */
  const read = (entry) => (entry.full ? sentence(entry.full, first) : "");
  return { draw, pick, modes, read, heads: ["step", "heard", "expected, with probability"], rows: rowsOf(first), describe: () => describe(span, first) };
}

/**
 * The lowest and highest key that sounded or was likely.
 * @param {Span} span
 */
function keys(span) {
  let [low, high] = [Infinity, -Infinity];
  const [from, to] = span.seen;
  for (const { full } of span.trace.entries.slice(from, to)) {
    if (!full) continue;
    for (let key = 0; key < full.prediction.mean.length; key++) {
      if (full.prediction.mean[key] < LIKELY && !((full.observation?.[key] ?? 0) > SOUNDS)) continue;
      low = Math.min(low, key);
      high = Math.max(high, key);
    }
  }
  return low > high ? [27, 63] : [Math.min(low, high - 12), Math.max(high, low + 12)];
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {number} first
 */
function keyboard(context, plot, first) {
  const colour = colours();
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let key = Math.max(0, Math.ceil(plot.low)); key < plot.high; key++) {
    const pitch = (first + key) % 12;
    const [top, bottom] = [plot.y(key + 1), plot.y(key)];
    if ([1, 3, 6, 8, 10].includes(pitch)) {
      context.fillStyle = colour.faint;
      context.fillRect(plot.left, top, plot.right - plot.left, bottom - top);
    }
    if (pitch === 0 || (pitch === 7 && bottom - top > 7)) {
      context.fillStyle = colour.soft;
      context.fillText(note(first + key), plot.left - 7, (top + bottom) / 2);
    }
  }
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Cells} cells
 * @param {Shown} shown
 */
function probabilities(context, plot, cells, shown) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  if (to <= from) return;
  const count = whole(entries.slice(from, to))[0]?.full.prediction.mean.length ?? 1;
  const colour = rgb(colours().accent);
  cells.begin(to - from, count);
  for (let at = from; at < to; at++) {
    const means = entries[at].full?.[shown].mean;
    if (!means) continue;
    for (let key = 0; key < count; key++) if (means[key] > FAINT) cells.set(at - from, key, colour, means[key] * 0.9);
  }
  cells.along(context, plot, from, plot.y(count), plot.y(0));
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Shown} shown
 */
function rings(context, plot, shown) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  const colour = colours();
  const inset = plot.step > 8 ? 1 : 0.25;
  context.lineWidth = plot.step > 8 ? 1.6 : 1;
  for (let at = from; at < to; at++) {
    const { full } = entries[at];
    if (!full?.observation) continue;
    for (let key = 0; key < full.observation.length; key++) {
      if (!(full.observation[key] > SOUNDS)) continue;
      context.strokeStyle = full[shown].mean[key] < UNEXPECTED ? colour.alert : colour.ink;
      const [x, y] = [plot.x(at) + inset, plot.y(key + 1) + inset];
      context.beginPath();
      context.roundRect(x, y, Math.max(1, plot.wide(at) - 2 * inset), Math.max(1, plot.y(key) - y - inset), 2);
      context.stroke();
    }
  }
}

/** @param {Float32Array | null | undefined} observation */
const sounding = (observation) => (observation ? [...observation.keys()].filter((key) => observation[key] > SOUNDS) : []);
/** @param {Float32Array} means */
const likely = (means) => [...means.keys()].filter((key) => means[key] > LIKELY).sort((a, b) => means[b] - means[a]).slice(0, 6);
/**
 * @param {number[]} some
 * @param {number} first
 */
const names = (some, first) => some.map((key) => note(first + key)).join(" ") || "nothing";

/**
 * @param {Full} full
 * @param {number} first
 */
function sentence({ observation, prediction }, first) {
  return `heard ${names(sounding(observation), first)} · expected ${names(likely(prediction.mean), first)}`;
}

/** @type {(first: number) => Chart["rows"]} */
const rowsOf = (first) => (entries) =>
  whole(entries).map(({ seq, full: { observation, prediction } }) => [
    String(seq),
    names(sounding(observation), first),
    likely(prediction.mean).map((key) => `${note(first + key)} ${prediction.mean[key].toFixed(2)}`).join(", ") || "nothing",
  ]);

/**
 * @param {Span} span
 * @param {number} first
 */
function describe(span, first) {
  const entry = span.full;
  return entry ? `Piano roll. Step ${entry.seq}: ${sentence(entry.full, first)}.` : "Piano roll: no steps yet.";
}
