// A free energy at a glance, for a row of a list: the last points as a line, the newest as a dot.
// @ts-check

import { colours } from "./surface.js";

/**
 * Draw `values`; `high` draws the dot in the colour of alarm.
 * @param {Context} context
 * @param {number} width
 * @param {number} height
 * @param {number[]} values
 * @param {{ high?: boolean }} [options]
 */
export function sparkline(context, width, height, values, { high = false } = {}) {
  if (values.length < 2) return;
  const colour = colours();
  let [low, top] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > top) top = value;
  }
  const room = top - low || 1;
  /** @param {number} i */
  const x = (i) => 2 + (i / (values.length - 1)) * (width - 8);
  /** @param {number} value */
  const y = (value) => height - 4 - ((value - low) / room) * (height - 8);
  context.strokeStyle = colour.accent;
  context.lineWidth = 1.25;
  context.beginPath();
  values.forEach((value, i) => context.lineTo(x(i), y(value)));
  context.stroke();
  context.fillStyle = high ? colour.alert : colour.accent;
  context.beginPath();
  context.arc(x(values.length - 1), y(values[values.length - 1]), 2.2, 0, 7);
  context.fill();
}
