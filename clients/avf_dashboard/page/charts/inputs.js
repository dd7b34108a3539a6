// What was done before each observation: a strip an input, held until the next.
// @ts-check

import { calm } from "../dom.js";
import { short } from "../format.js";
import { whole } from "../trace.js";
import { crosshair, marks, Plot, Scale, stepAxis, valueAxis } from "./axes.js";
import { colours } from "./surface.js";

const STRIPS = 4; // inputs that are shown

/**
 * Strips of a span with `size` inputs, by their names, if they have any.
 * @param {Span} span
 * @param {{ size: number, names: string[] | null }} options
 * @returns {Chart}
 */
export function inputs(span, { size, names }) {
  const count = Math.min(STRIPS, size);
  const named = Array.from({ length: count }, (_, i) => names?.[i] ?? `u${i}`);
  const scales = named.map(() => new Scale());

  /** @type {Draw} */
  function draw(context, width, height) {
    const each = (height - 20) / count;
    const seen = whole(span.trace.entries.slice(...span.seen));
    let moving = false;
    named.forEach((name, i) => {
      const values = seen.map(({ full }) => full.inputs?.[i] ?? NaN).filter(Number.isFinite);
      const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
      moving = scales[i].fit(low, high, { still: calm() }) || moving;
      const layout = { ...scales[i].range, top: i * each + 8, bottom: height - (i + 1) * each + 4 };
      strip(context, new Plot(span, width, height, layout), i, name);
    });
    const frame = new Plot(span, width, height, { top: 0 });
    stepAxis(context, frame);
    marks(context, frame);
    return moving;
  }

  /** @param {Entry[]} entries */
  const rows = (entries) => whole(entries).map(({ seq, full }) => [String(seq), ...named.map((_, i) => short(full.inputs?.[i] ?? NaN))]);
  return { draw, heads: ["step", ...named], rows, describe: () => `Inputs: ${named.join(", ")}.` };
}

/**
 * @param {Context} context
 * @param {Plot} plot
 * @param {number} i
 * @param {string} name
 */
function strip(context, plot, i, name) {
  const colour = colours();
  const { entries } = plot.span.trace;
  const [from, to] = plot.span.seen;
  valueAxis(context, plot, { most: 2 });
  plot.clip(context, () => {
    crosshair(context, plot);
    context.strokeStyle = colour.warm;
    context.lineWidth = 1.4;
    context.beginPath();
    for (let at = from; at < to; at++) {
      const value = entries[at].full?.inputs?.[i] ?? NaN;
      if (!Number.isFinite(value)) continue;
      context.lineTo(plot.x(at), plot.y(value));
      context.lineTo(plot.x(at + 1), plot.y(value));
    }
    context.stroke();
  });
  context.fillStyle = colour.soft;
  context.textAlign = "left";
  context.textBaseline = "top";
  context.fillText(name, plot.left + 5, plot.top);
}
