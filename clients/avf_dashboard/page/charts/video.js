// Frames: what was seen beside what was expected, what it was explained as, and where the expectation was wrong; below,
// the frames that led there.

import { nats, short } from "../format.js";
import { Cells, rgb } from "./cells.js";
import { colours } from "./surface.js";

const GAP = 10;

/** Frames of a span, each of `height` by `width` pixels. */
export function video(span, { shape: [rows, columns] }) {
  const cells = new Cells();

  function draw(context, width, height) {
    const entry = span.full;
    if (!entry) return false;
    const names = ["seen", "expected", "explained", "error"];
    const frames = framesOf(entry.full);
    const size = Math.min((width - GAP * 5) / 4, height * 0.6);
    const left = (width - 4 * size - 3 * GAP) / 2;
    context.textAlign = "left";
    context.textBaseline = "top";
    frames.forEach((frame, i) => {
      const x = left + i * (size + GAP);
      context.fillStyle = colours().soft;
      context.fillText(names[i], x, 20);
      paint(context, frame, { x, y: 36, size, signed: i === 3 });
    });
    film(context, { y: size + 48, height: height - size - 52, width });
    return false;
  }

  function film(context, { y, height, width }) {
    const size = Math.min(height - 16, 140);
    if (size < 16) return;
    const count = Math.floor((width - GAP) / (size + 4));
    const { entries } = span.trace;
    const end = span.trace.find(span.entry.epoch, span.entry.seq) + 1;
    const some = entries.slice(Math.max(0, end - count), end).filter((each) => each.full?.observation);
    some.forEach((each, i) => {
      const x = width - GAP - (some.length - i) * (size + 4);
      paint(context, each.full.observation, { x, y, size, signed: false });
      context.fillStyle = colours().soft;
      context.fillText(String(each.seq), x, y + size + 3);
    });
  }

  function paint(context, frame, { x, y, size, signed }) {
    const colour = colours();
    const high = (size * rows) / Math.max(rows, columns);
    const wide = (size * columns) / Math.max(rows, columns);
    context.fillStyle = signed ? colour.faint : "#000";
    context.fillRect(x, y, wide, high);
    if (!frame) return;
    const [more, less, white] = [rgb(colour.alert), rgb(colour.accent), [255, 255, 255]];
    cells.begin(columns, rows);
    for (let i = 0; i < frame.length; i++) {
      const [row, column] = [rows - 1 - Math.floor(i / columns), i % columns];
      if (signed) cells.set(column, row, frame[i] > 0 ? more : less, Math.abs(frame[i]));
      else cells.set(column, row, white, frame[i]);
    }
    cells.draw(context, x, y, wide, high);
  }

  const read = (entry) => (entry.full?.observation ? `step ${entry.seq} · error ${short(error(entry.full))} · F ${nats(entry.F)}` : "");
  return { draw, read, heads: HEADS, rows: tableRows, describe: () => describe(span) };
}

const framesOf = ({ observation, prediction, likelihood }) => [
  observation, prediction.mean, likelihood.mean, observation?.map((x, i) => x - prediction.mean[i]),
];

const error = ({ observation, prediction }) =>
  Math.sqrt(observation.reduce((sum, x, i) => sum + (x - prediction.mean[i]) ** 2, 0) / observation.length);

const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
const HEADS = ["step", "mean brightness seen", "expected", "root mean square error"];
const tableRows = (entries) =>
  entries.filter((entry) => entry.full?.observation).map(({ seq, full }) => [
    String(seq), short(mean(full.observation)), short(mean(full.prediction.mean)), short(error(full)),
  ]);

function describe(span) {
  const entry = span.full;
  if (!entry?.full.observation) return "Frames seen and expected: no steps yet.";
  return `Frames seen, expected and explained. Step ${entry.seq}: root mean square error ${short(error(entry.full))}.`;
}
