// Music: the keys that were heard over those that were expected. The fill of a cell is the probability that the model
// gave the key, a ring is a key that sounded; a ring in the colour of alarm was hardly expected.

import { note } from "../format.js";
import { crosshair, marks, Plot, Scale, stepAxis } from "./axes.js";
import { Cells, rgb } from "./cells.js";
import { colours } from "./surface.js";
import { calm } from "../dom.js";

const SOUNDS = 0.5;
const LIKELY = 0.2;
const UNEXPECTED = 0.1;
const FAINT = 0.02;

/** A piano roll of a span. `first` is the MIDI pitch of the lowest key. */
export function pianoroll(span, { first }) {
  const cells = new Cells();
  const scale = new Scale();
  let shown = "prediction";

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

  const pick = (value) => (shown = value);
  const modes = [["prediction", "Expected"], ["likelihood", "Explained"]];
  const read = (entry) => (entry.full ? sentence(entry.full, first) : "");
  return { draw, pick, modes, read, heads: ["step", "heard", "expected, with probability"], rows: rowsOf(first), describe: () => describe(span, first) };
}

/** The lowest and highest key that sounded or was likely. */
function keys(span) {
  let [low, high] = [Infinity, -Infinity];
  const [from, to] = span.seen;
  for (const { full } of span.trace.entries.slice(from, to)) {
    if (!full) continue;
    for (let key = 0; key < full.prediction.mean.length; key++) {
      if (full.prediction.mean[key] < LIKELY && !(full.observation?.[key] > SOUNDS)) continue;
      low = Math.min(low, key);
      high = Math.max(high, key);
    }
  }
  return low > high ? [27, 63] : [Math.min(low, high - 12), Math.max(high, low + 12)];
}

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

function probabilities(context, plot, cells, shown) {
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  if (to <= from) return;
  const count = entries.slice(from, to).find((entry) => entry.full)?.full.prediction.mean.length ?? 1;
  const colour = rgb(colours().accent);
  cells.begin(to - from, count);
  for (let at = from; at < to; at++) {
    const means = entries[at].full?.[shown].mean;
    if (!means) continue;
    for (let key = 0; key < count; key++) if (means[key] > FAINT) cells.set(at - from, key, colour, means[key] * 0.9);
  }
  cells.draw(context, plot.x(from), plot.y(count), (to - from) * plot.step, plot.y(0) - plot.y(count));
}

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
      context.roundRect(x, y, Math.max(1, plot.step - 2 * inset), Math.max(1, plot.y(key) - y - inset), 2);
      context.stroke();
    }
  }
}

const sounding = (observation) => (observation ? [...observation.keys()].filter((key) => observation[key] > SOUNDS) : []);
const likely = (means) => [...means.keys()].filter((key) => means[key] > LIKELY).sort((a, b) => means[b] - means[a]).slice(0, 6);
const names = (some, first) => some.map((key) => note(first + key)).join(" ") || "nothing";

function sentence({ observation, prediction }, first) {
  return `heard ${names(sounding(observation), first)} · expected ${names(likely(prediction.mean), first)}`;
}

const rowsOf = (first) => (entries) =>
  entries.filter((entry) => entry.full).map(({ seq, full: { observation, prediction } }) => [
    String(seq),
    names(sounding(observation), first),
    likely(prediction.mean).map((key) => `${note(first + key)} ${prediction.mean[key].toFixed(2)}`).join(", ") || "nothing",
  ]);

function describe(span, first) {
  const entry = span.full;
  return entry ? `Piano roll. Step ${entry.seq}: ${sentence(entry.full, first)}.` : "Piano roll: no steps yet.";
}
