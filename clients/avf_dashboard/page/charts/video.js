// Frames: what was seen beside what was expected, what it was explained as, and where the expectation was wrong; below,
// the frames that led there.
// @ts-check

import { nats, short } from "../format.js";
import { heard } from "../trace.js";
import { Cells, rgb } from "./cells.js";
import { colours } from "./surface.js";

const GAP = 10;
/** @type {Colour} */
const WHITE = [255, 255, 255];

/**
 * Frames of a span, each of `height` by `width` pixels.
 * @param {Span} span
 * @param {{ shape: number[] }} options
 * @returns {Chart}
 */
export function video(span, { shape: [rows, columns] }) {
  const cells = new Cells();

  /** @type {Draw} */
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

  /**
   * @param {Context} context
   * @param {{ y: number, height: number, width: number }} options
   */
  function film(context, { y, height, width }) {
    const size = Math.min(height - 16, 140);
    if (size < 16) return;
    const count = Math.floor((width - GAP) / (size + 4));
    const { entries } = span.trace;
    const end = span.trace.find(span.entry.epoch, span.entry.seq) + 1;
    const some = heard(entries.slice(Math.max(0, end - count), end));
    some.forEach((each, i) => {
      const x = width - GAP - (some.length - i) * (size + 4);
      paint(context, each.full.observation, { x, y, size, signed: false });
      context.fillStyle = colours().soft;
      context.fillText(String(each.seq), x, y + size + 3);
    });
  }

  /**
   * @param {Context} context
   * @param {Float32Array | null | undefined} frame
   * @param {{ x: number, y: number, size: number, signed: boolean }} options
   */
  function paint(context, frame, { x, y, size, signed }) {
    const colour = colours();
    const high = (size * rows) / Math.max(rows, columns);
    const wide = (size * columns) / Math.max(rows, columns);
    context.fillStyle = signed ? colour.faint : "#000";
    context.fillRect(x, y, wide, high);
    if (!frame) return;
    const [more, less] = [rgb(colour.alert), rgb(colour.accent)];
    cells.begin(columns, rows);
    for (let i = 0; i < frame.length; i++) {
      const [row, column] = [rows - 1 - Math.floor(i / columns), i % columns];
      if (signed) cells.set(column, row, frame[i] > 0 ? more : less, Math.abs(frame[i]));
      else cells.set(column, row, WHITE, frame[i]);
    }
    cells.draw(context, x, y, wide, high);
  }

  /** @param {Entry} entry */
  const read = (entry) => {
    const [known] = heard([entry]);
    return known ? `step ${entry.seq} · error ${short(error(known.full))} · F ${nats(entry.F)}` : "";
  };
  return { draw, read, heads: HEADS, rows: tableRows, describe: () => describe(span) };
}

/** @param {Full} full */
const framesOf = ({ observation, prediction, likelihood }) => [
  observation, prediction.mean, likelihood.mean, observation?.map((x, i) => x - prediction.mean[i]),
];

/** @param {Heard["full"]} full */
const error = ({ observation, prediction }) =>
  Math.sqrt(observation.reduce((sum, x, i) => sum + (x - prediction.mean[i]) ** 2, 0) / observation.length);

/** @param {Float32Array} values */
const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
const HEADS = ["step", "mean brightness seen", "expected", "root mean square error"];
/** @param {Entry[]} entries */
const tableRows = (entries) =>
  heard(entries).map(({ seq, full }) => [
    String(seq), short(mean(full.observation)), short(mean(full.prediction.mean)), short(error(full)),
  ]);

/** @param {Span} span */
function describe(span) {
  const [entry] = span.full ? heard([span.full]) : [];
  if (!entry) return "Frames seen and expected: no steps yet.";
  return `Frames seen, expected and explained. Step ${entry.seq}: root mean square error ${short(error(entry.full))}.`;
}
