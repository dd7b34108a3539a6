// Whether what a session hears is in the units that its model knows: a column in Kelvin, or two swapped, told by name.
// @ts-check

import { heard } from "./trace.js";

const RECENT = 25; // observations by which units are judged
const FAR = 6; // spreads by which the middle of them is away from what is expected

/** @param {number[]} values */
const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** @param {number} value */
const told = (value) => String(Number(value.toPrecision(4)));

/**
 * A sentence for each channel of these steps that looks as if it were in another unit than its model's.
 * @param {Wire.ModelInfo} model
 * @param {Entry[]} entries
 * @returns {string[]}
 */
export function foreign({ center, scale, channels }, entries) {
  if (!center || !scale) return [];
  const rows = heard(entries.slice(-RECENT)).map((entry) => entry.full.observation);
  const name = (/** @type {number} */ n) => channels?.[n] ?? `channel ${n}`;
  const found = [];
  for (let n = 0; n < center.length; n += 1) {
    const values = rows.map((row) => row[n]).filter((value) => Number.isFinite(value));
    if (!values.length) continue;
    const value = middle(values);
    const fits = (/** @type {number} */ m) => Math.abs(value - center[m]) <= FAR * scale[m];
    if (fits(n)) continue;
    const other = center.findIndex((_, m) => m !== n && fits(m));
    const hint = other < 0 ? ": are its units the model's?" : `; it looks like ${name(other)}: are columns swapped?`;
    found.push(`${name(n)} lies about ${told(value)}, where the model's training data lay about ${told(center[n])}, give or take ${told(scale[n])}${hint}`);
  }
  return found;
}
