// Sound: the wave that was heard over the band in which it was expected, and the spectrograms of what was heard and of
// what was expected. One step is one frame of samples.
// @ts-check

import { calm } from "../dom.js";
import { nats, short } from "../format.js";
import { Spectrum } from "../sound/spectrum.js";
import { heard } from "../trace.js";
import { crosshair, marks, Plot, Scale, stepAxis, valueAxis } from "./axes.js";
import { Cells, rgb } from "./cells.js";
import { colours } from "./surface.js";

const FLOOR = -80; // decibels
const TOP = -15;
const WAVE = 0.4; // of the height

/**
 * Waves and spectrograms of a span. `size` samples are a frame, at `rate` a second.
 * @param {Span} span
 * @param {{ size: number, rate: number }} options
 * @returns {Chart}
 */
export function audio(span, { size, rate }) {
  const spectrum = new Spectrum(size);
  const scale = new Scale();
  const cells = [new Cells(), new Cells()];
  /** @type {WeakMap<Float32Array, Float32Array>} */
  const cached = new WeakMap(); // spectra of arrays that are here
  /** @type {Shown} */
  let shown = "prediction";

  /** @param {Float32Array} samples */
  const levels = (samples) => {
    const made = cached.get(samples) ?? spectrum.of(samples);
    cached.set(samples, made);
    return made;
  };

  /** @type {Draw} */
  function draw(context, width, height) {
    const wave = height * WAVE;
    const most = loudest(span);
    const moving = scale.fit(-most, most, { still: calm() });
    const above = new Plot(span, width, height, { ...scale.range, top: 20, bottom: height - wave });
    valueAxis(context, above, { most: 3 });
    above.clip(context, () => {
      crosshair(context, above);
      expectedBand(context, above, shown, size);
      drawn(context, above);
    });
    const half = (height - wave - 24) / 2;
    const kinds = [
      { name: "heard", of: (/** @type {Full} */ full) => full.observation },
      { name: shown === "prediction" ? "expected" : "explained", of: (/** @type {Full} */ full) => full[shown].mean },
    ];
    kinds.forEach(({ name, of }, i) => {
      const top = wave + 6 + i * half;
      const plot = new Plot(span, width, height, { low: 0, high: rate / 2, top, bottom: height - top - half + 4 });
      spectrogram(context, plot, cells[i], (full) => (of(full) ? levels(/** @type {Float32Array} */ (of(full))) : null), spectrum.bins);
      valueAxis(context, plot, { values: [0, rate / 4], label: (hertz) => (hertz ? `${short(hertz / 1000)} kHz` : "0") });
      title(context, plot, name);
    });
    const frame = new Plot(span, width, height, { top: 0 });
    stepAxis(context, frame);
    marks(context, frame);
    return moving;
  }

  /** @param {Shown} value */
  const pick = (value) => (shown = value);
  /** @param {Entry} entry */
  const read = (entry) => (entry.full?.observation ? `level ${nats(level(entry.full.observation))} dB · F ${nats(entry.F)}` : "");
  return { draw, pick, read, modes: [["prediction", "Expected"], ["likelihood", "Explained"]], heads: HEADS, rows, describe: () => describe(span) };
}

/** @param {Span} span */
function loudest(span) {
  let most = 0.02;
  const [from, to] = span.seen;
  for (const { full } of span.trace.entries.slice(from, to)) {
    if (full?.observation) for (const x of full.observation) if (Math.abs(x) > most) most = Math.abs(x);
  }
  return most * 1.1;
}

/**
 * The lowest and highest of `of(full, i)` for each pixel of each frame.
 * @param {Plot} plot
 * @param {number} size
 * @param {(full: Full, i: number) => [low: number, high: number]} of
 * @param {(x: number, top: number, bottom: number, wide: number) => void} line
 */
function envelope(plot, size, of, line) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  const each = Math.max(1, Math.floor(size / Math.max(1, plot.step)));
  for (let at = from; at < to; at++) {
    const { full } = entries[at];
    if (!full?.observation) continue;
    for (let i = 0; i < size; i += each) {
      let [low, high] = [Infinity, -Infinity];
      for (let j = i; j < Math.min(size, i + each); j++) {
        const [a, b] = of(full, j);
        if (a < low) low = a;
        if (b > high) high = b;
      }
      if (low <= high) line(plot.x(at + i / size), plot.y(high), plot.y(low), Math.max(1, (plot.wide(at) * each) / size));
    }
  }
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Shown} shown
 * @param {number} size
 */
function expectedBand(context, plot, shown, size) {
  context.fillStyle = colours().accent_soft;
  /** @type {(full: Full, i: number) => [number, number]} */
  const of = (full, i) => {
    const { mean, deviation } = full[shown];
    const spread = 2 * (deviation?.[i] ?? 0);
    return [mean[i] - spread, mean[i] + spread];
  };
  envelope(plot, size, of, (x, top, bottom, wide) => context.fillRect(x, top, wide, Math.max(1, bottom - top)));
}

/**
 * @param {Context} context
 * @param {Plot} plot
 */
function drawn(context, plot) {
  context.fillStyle = colours().ink;
  const size = plot.span.full?.full.observation?.length ?? 0;
  if (!size) return;
  /** @type {(full: Full, i: number) => [number, number]} */
  const of = ({ observation }, i) => [observation?.[i] ?? NaN, observation?.[i] ?? NaN];
  envelope(plot, size, of, (x, top, bottom, wide) => context.fillRect(x, top, wide, Math.max(1, bottom - top)));
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {Cells} cells
 * @param {(full: Full) => Float32Array | null} levels
 * @param {number} bins
 */
function spectrogram(context, plot, cells, levels, bins) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  if (to <= from) return;
  const colour = rgb(colours().accent);
  cells.begin(to - from, bins);
  for (let at = from; at < to; at++) {
    const { full } = entries[at];
    const found = full && levels(full);
    if (!found) continue;
    for (let bin = 0; bin < bins; bin++) cells.set(at - from, bin, colour, (found[bin] - FLOOR) / (TOP - FLOOR));
  }
  plot.clip(context, () => {
    cells.along(context, plot, from, plot.top, plot.bottom);
    crosshair(context, plot);
  });
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {string} text
 */
function title(context, plot, text) {
  const colour = colours();
  context.textAlign = "left";
  context.textBaseline = "top";
  const width = context.measureText(text).width;
  context.fillStyle = colour.paper;
  context.fillRect(plot.left + 3, plot.top + 1, width + 8, 14);
  context.fillStyle = colour.soft;
  context.fillText(text, plot.left + 7, plot.top + 2);
}

/**
 * Decibels of the root mean square, relative to 1.
 * @param {Float32Array} samples
 */
export function level(samples) {
  let sum = 0;
  for (const x of samples) sum += x * x || 0;
  return 10 * Math.log10(sum / samples.length + 1e-9);
}

const HEADS = ["step", "level heard, dB", "level expected, dB", "root mean square error"];
/** @param {Entry[]} entries */
const rows = (entries) =>
  heard(entries).map(({ seq, full: { observation, prediction } }) => {
    const error = Math.sqrt(observation.reduce((sum, x, i) => sum + (x - prediction.mean[i]) ** 2, 0) / observation.length);
    return [String(seq), nats(level(observation)), nats(level(prediction.mean)), short(error)];
  });

/** @param {Span} span */
function describe(span) {
  const entry = span.full;
  if (!entry?.full.observation) return "Sound heard and expected: no steps yet.";
  return `Sound heard and expected. Step ${entry.seq}: level ${nats(level(entry.full.observation))} decibels.`;
}
