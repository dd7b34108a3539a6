// The most active latents of the step shown: posterior over prior, each as mean and deviation on a line.
// @ts-check

import { nats, short } from "../format.js";
import { whole } from "../trace.js";
import { activity } from "./latents.js";
import { colours } from "./surface.js";

const MOST = 8;

/**
 * The most active latents of a span: the prior as a wide bar, the posterior as a narrow one with a dot at its mean.
 * @param {Span} span
 * @returns {Chart}
 */
export function active(span) {
  /** @type {number[]} */
  let order = [];
  let kl = new Float64Array(0);

  /** @type {Draw} */
  function draw(context, width, height) {
    const entry = span.full;
    kl = activity(span) ?? kl;
    if (!entry || !kl.length) return false;
    order = [...kl.keys()].sort((a, b) => kl[b] - kl[a]).slice(0, Math.min(MOST, Math.floor((height - 18) / 20)));
    const [left, right] = [46, width - 64];
    const most = order.reduce((found, i) => Math.max(found, reach(entry.full.prior, i), reach(entry.full.posterior, i)), 1);
    /** @param {number} value */
    const x = (value) => (left + right) / 2 + ((value / most) * (right - left)) / 2;
    const each = (height - 18) / order.length;
    frame(context, { x, most, height });
    order.forEach((i, row) => one(context, entry.full, i, { x, y: each * (row + 0.5), each, width, kl: kl[i] }));
    return false;
  }

  /** @param {Entry[]} entries */
  const rows = (entries) =>
    whole(entries).slice(0, 1).flatMap(({ full }) =>
      order.map((i) => [`z${i}`, plus(full.prior, i), plus(full.posterior, i), nats(kl[i])]),
    );
  return { draw, rows, heads: ["latent", "prior", "posterior", "mean KL, nats"], describe: () => describe(order, kl) };
}

/**
 * @param {Belief} moments
 * @param {number} i
 */
const reach = ({ mean, deviation }, i) => Math.abs(mean[i]) + 2 * deviation[i];
/**
 * @param {Belief} moments
 * @param {number} i
 */
const plus = ({ mean, deviation }, i) => `${short(mean[i])} ± ${short(deviation[i])}`;

/**
 * @param {Context} context
 * @param {{ x: (value: number) => number, most: number, height: number }} options
 */
function frame(context, { x, most, height }) {
  const colour = colours();
  context.textAlign = "center";
  context.textBaseline = "bottom";
  for (const value of [-most / 2, 0, most / 2]) {
    context.fillStyle = colour.line;
    context.fillRect(Math.round(x(value)), 0, 1, height - 16);
    context.fillStyle = colour.soft;
    context.fillText(short(value), x(value), height);
  }
}

/**
 * @param {Context} context
 * @param {{ prior: Belief, posterior: Belief }} options
 * @param {number} i
 * @param {{ x: (value: number) => number, y: number, each: number, width: number, kl: number }} options
 */
function one(context, { prior, posterior }, i, { x, y, each, width, kl }) {
  const colour = colours();
  /**
   * @param {Belief} moments
   * @param {number} high
   * @param {string} fill
   */
  const bar = ({ mean, deviation }, high, fill) => {
    const [a, b] = [x(mean[i] - 2 * deviation[i]), x(mean[i] + 2 * deviation[i])];
    context.fillStyle = fill;
    context.beginPath();
    context.roundRect(a, y - high / 2, Math.max(1, b - a), high, high / 2);
    context.fill();
  };
  bar(prior, Math.min(12, each * 0.6), colour.band);
  bar(posterior, Math.min(6, each * 0.3), colour.accent_soft);
  context.fillStyle = colour.accent;
  context.beginPath();
  context.arc(x(posterior.mean[i]), y, 3, 0, 7);
  context.fill();
  context.fillStyle = colour.soft;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillText(`z${i}`, 39, y);
  context.fillText(nats(kl), width - 4, y);
}

/**
 * @param {number[]} order
 * @param {Float64Array} kl
 */
function describe(order, kl) {
  if (!order.length) return "Most active latents: no steps yet.";
  return `Most active latents, by KL in nats: ${order.map((i) => `z${i} ${nats(kl[i])}`).join(", ")}.`;
}
