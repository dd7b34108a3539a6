// The frame of charts over steps: where a step and a value stand, lines and labels of ticks, marks and the crosshair.
// @ts-check

import { moment, short, ticks } from "../format.js";
import { Ruler } from "./ruler.js";
import { colours } from "./surface.js";

/** Where things stand on a chart of a span: steps from left to right, values between `low` and `high` upwards. */
export class Plot {
  /**
   * @param {Span} span
   * @param {number} width
   * @param {number} height
   * @param {{ low?: number, high?: number, left?: number, right?: number, top?: number, bottom?: number }} [options]
   */
  constructor(span, width, height, { low = 0, high = 1, left = 46, right = 10, top = 14, bottom = 20 } = {}) {
    this.span = span;
    this.low = low;
    this.high = high;
    this.left = left;
    this.top = top;
    this.right = width - right;
    this.bottom = height - bottom;
    this.ruler = new Ruler(span);
    this.step = (this.right - left) / span.width; // pixels of one step, on average
  }

  /** @param {number} position */
  x(position) {
    return this.left + this.ruler.share(position) * (this.right - this.left);
  }

  /**
   * The pixels of one step.
   * @param {number} at
   */
  wide(at) {
    return this.x(at + 1) - this.x(at);
  }

  /** @param {number} value */
  y(value) {
    return this.bottom - ((value - this.low) / (this.high - this.low || 1)) * (this.bottom - this.top);
  }

  /**
   * Draw within the frame only.
   * @param {Context} context
   * @param {() => void} draw
   */
  clip(context, draw) {
    context.save();
    context.beginPath();
    context.rect(this.left, this.top - 2, this.right - this.left, this.bottom - this.top + 4);
    context.clip();
    draw();
    context.restore();
  }
}

/**
 * Lines and labels of values at the left.
 * @param {Context} context
 * @param {Plot} plot
 * @param {{ label?: (value: number) => string, most?: number, values?: number[] }} [options]
 */
export function valueAxis(context, plot, { label = short, most = 4, values } = {}) {
  const colour = colours();
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of values ?? ticks(plot.low, plot.high, most)) {
    const y = Math.round(plot.y(value)) + 0.5;
    if (y < plot.top - 3 || y > plot.bottom + 3) continue;
    context.strokeStyle = colour.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(plot.left, y);
    context.lineTo(plot.right, y);
    context.stroke();
    context.fillStyle = colour.soft;
    context.fillText(label(value), plot.left - 7, y);
  }
}

/**
 * Below, when steps were, where they have times, else their numbers: `seq`, which begins again in each epoch.
 * @param {Context} context
 * @param {Plot} plot
 */
export function stepAxis(context, plot) {
  const { entries } = plot.span.trace;
  const colour = colours();
  context.textBaseline = "top";
  context.textAlign = "center";
  context.fillStyle = colour.soft;
  const every = ticks(0, plot.span.width, Math.max(2, (plot.right - plot.left) / 90))[1] ?? 1;
  const [from, to] = plot.span.seen;
  let free = plot.left - 20;
  for (let at = from; at < to; at++) {
    const { seq, time } = entries[at];
    const x = plot.x(at + 0.5);
    if ((seq % Math.max(1, Math.round(every)) === 0 || seq === 1) && x > free + (Number.isFinite(time) ? 64 : 34) && x < plot.right) {
      context.fillText(Number.isFinite(time) ? moment(time) : String(seq), x, plot.bottom + 6);
      free = x;
    }
  }
}

/**
 * Lines where something happened: resets, gaps, resumptions, forks.
 * @param {Context} context
 * @param {Plot} plot
 * @param {{ labels?: boolean }} [options]
 */
export function marks(context, plot, { labels = false } = {}) {
  const { trace } = plot.span;
  const colour = colours();
  context.textBaseline = "top";
  context.textAlign = "left";
  let free = -Infinity;
  for (const mark of trace.marks) {
    const x = Math.round(plot.x(trace.find(mark.epoch, mark.seq))) + 0.5;
    if (x < plot.left || x > plot.right) continue;
    context.strokeStyle = colour.soft;
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(x, plot.top - 8);
    context.lineTo(x, plot.bottom);
    context.stroke();
    context.setLineDash([]);
    if (!labels || x < free) continue;
    const width = context.measureText(mark.text).width;
    const left = Math.min(x, plot.right - width - 8);
    context.fillStyle = colour.paper;
    context.fillRect(left, plot.top - 12, width + 8, 14);
    context.fillStyle = colour.soft;
    context.fillText(mark.text, left + 4, plot.top - 11);
    free = left + width + 14;
  }
}

/**
 * The step under the pointer, on every chart of the span.
 * @param {Context} context
 * @param {Plot} plot
 */
export function crosshair(context, plot) {
  const { hover } = plot.span;
  if (hover === null) return;
  context.fillStyle = colours().band;
  context.fillRect(plot.x(hover), plot.top, Math.max(1, plot.wide(hover)), plot.bottom - plot.top);
}

/** A scale that takes in what it must at once and gives room back slowly, so that charts don't jump. */
export class Scale {
  #low = 0;
  #high = 0;
  #fitted = false;

  /**
   * Fit to values from low to high; true while it is still moving.
   * @param {number} low
   * @param {number} high
   * @param {{ still?: boolean }} [options]
   */
  fit(low, high, { still = false } = {}) {
    if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
    if (!this.#fitted || still) [this.#low, this.#high] = [low, high];
    this.#fitted = true;
    /**
     * @param {number} from
     * @param {number} to
     * @param {boolean} out
     */
    const ease = (from, to, out) => (out ? from + (to - from) * 0.5 : from + (to - from) * 0.06);
    const next = [ease(this.#low, low, low < this.#low), ease(this.#high, high, high > this.#high)];
    const moving = Math.abs(next[0] - this.#low) + Math.abs(next[1] - this.#high) > (high - low) * 0.002;
    [this.#low, this.#high] = moving ? next : [low, high];
    return moving;
  }

  get range() {
    return { low: this.#low, high: this.#high };
  }
}
