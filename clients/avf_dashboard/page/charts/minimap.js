// All that is known of a session in one strip, with the window that the charts show: drag it, or use the arrow keys.
// @ts-check

import { h } from "../dom.js";
import { colours, Surface } from "./surface.js";

/** A slider over the whole of a trace. */
export class Minimap {
  /** @param {Span} span */
  constructor(span) {
    this.span = span;
    this.canvas = h("canvas", {
      class: "minimap", role: "slider", tabindex: "0", "aria-label": "Window over the history of the session",
      "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0",
      onpointerdown: (event) => this.#grab(event),
      onpointermove: (event) => event.buttons && this.#move(event),
    });
    this.surface = new Surface(this.canvas, (context, width, height) => this.#draw(context, width, height));
  }

  invalidate() {
    this.surface.invalidate();
    const { entries } = this.span.trace;
    this.canvas.setAttribute("aria-valuemax", String(entries.length));
    this.canvas.setAttribute("aria-valuenow", String(Math.round(this.span.target)));
    const entry = entries[Math.max(0, Math.round(this.span.target) - 1)];
    this.canvas.setAttribute("aria-valuetext", entry ? `up to step ${entry.seq} of epoch ${entry.epoch}${this.span.live ? ", following" : ""}` : "no steps");
  }

  close() {
    this.surface.close();
  }

  /** @param {PointerEvent} event */
  #grab(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.#move(event);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const total = Math.max(this.span.trace.entries.length, this.span.width);
    const at = (event.offsetX / this.canvas.clientWidth) * total + this.span.width / 2;
    this.span.move(at - this.span.target);
  }

  /**
   * @param {Context} context
   * @param {number} width
   * @param {number} height
   */
  #draw(context, width, height) {
    const { entries } = this.span.trace;
    const colour = colours();
    context.fillStyle = colour.faint;
    context.fillRect(0, 0, width, height);
    const total = Math.max(entries.length, this.span.width);
    const columns = Math.min(entries.length, Math.floor(width));
    let most = 1e-9;
    const peaks = Array.from({ length: columns }, (_, i) => {
      const peak = entries[Math.floor((i / columns) * entries.length)].F;
      most = Math.max(most, peak);
      return peak;
    });
    context.fillStyle = colour.accent_soft;
    const wide = ((entries.length / total) * width) / Math.max(1, columns);
    peaks.forEach((peak, i) => {
      const high = Math.max(0, (peak / most) * (height - 4));
      context.fillRect(i * wide, height - high, Math.max(1, wide), high);
    });
    const [a, b] = [(Math.max(0, this.span.first) / total) * width, (this.span.last / total) * width];
    context.fillStyle = colour.band;
    context.fillRect(a, 0, b - a, height);
    context.strokeStyle = colour.accent;
    context.lineWidth = 1.5;
    context.strokeRect(a + 0.75, 0.75, Math.max(2, b - a - 1.5), height - 1.5);
    return false;
  }
}
