// A chart as a reader meets it: a heading, a canvas with its description, the figures under the pointer, and the same
// as a table for those who cannot, or would rather not, see it drawn.
// @ts-check

import { choice, h, save, table, write } from "../dom.js";
import { colours, pen, Surface } from "./surface.js";

const ROWS = 60; // of the table: those seen last
const DESCRIBE = 2_000; // milliseconds between new descriptions

/**
 * A chart in the page. `chart` has draw(context, width, height), describe(), heads and rows(entries); and, where it has
 * any, modes: [[value, text], ...] with pick(value), and read(entry), the figures of a step in one line.
 */
export class Figure {
  #described = -Infinity;
  /** @type {number | undefined} */
  #soon; // the timer of the next description
  /** @type {HTMLTableElement | null} */
  #table = null;

  /**
   * @param {string} title
   * @param {Chart} chart
   * @param {{ span: Span | null, kind: string, id: string }} options
   */
  constructor(title, chart, { span, kind, id }) {
    this.title = title;
    this.chart = chart;
    this.span = span;
    this.canvas = h("canvas", { role: "img", "aria-label": title });
    this.readout = h("p", { class: "readout", "aria-hidden": "true" });
    this.holder = h("div", { class: "table-holder", hidden: true, tabindex: "0", role: "region", "aria-label": `${title}, as a table` });
    this.toggle = h("button", {
      type: "button", class: "quiet", "aria-expanded": "false", text: "Table", "aria-label": `${title}: show as a table`,
      onclick: () => this.#tabulate(),
    });
    const image = h("button", {
      type: "button", class: "quiet", text: "PNG", "aria-label": `${title}: save as an image`, onclick: () => this.png(),
    });
    this.notes = h("div", { class: "notes" });
    const modes = chart.modes ? choice(`${title}: what is drawn`, chart.modes, chart.modes[0][0], (value) => this.pick(value)) : null;
    this.root = h(
      "figure", { class: `card figure ${kind}`, "data-chart": id },
      h("figcaption", {}, h("h2", { text: title }), this.notes, modes, h("span", { class: "tools" }, this.toggle, image)),
      h("div", { class: "plot" }, this.canvas, this.readout),
      this.holder,
    );
    this.surface = new Surface(this.canvas, (context, width, height) => this.#draw(context, width, height));
  }

  /**
   * Draw another form of the same.
   * @param {string} value
   */
  pick(value) {
    this.chart.pick?.(value);
    this.surface.invalidate();
  }

  /** Something has changed. */
  invalidate() {
    this.surface.invalidate();
    this.#soon ??= setTimeout(() => this.#describe(), Math.max(0, this.#described + DESCRIBE - performance.now()));
  }

  close() {
    clearTimeout(this.#soon);
    this.surface.close();
  }

  /** Save what is drawn, with its heading, on the paper of the theme. */
  png() {
    const colour = colours();
    const scale = this.canvas.width / this.canvas.clientWidth;
    const top = 34 * scale;
    const sheet = h("canvas", { width: this.canvas.width, height: this.canvas.height + top });
    const context = pen(sheet);
    context.fillStyle = colour.paper;
    context.fillRect(0, 0, sheet.width, sheet.height);
    context.fillStyle = colour.ink;
    context.font = `600 ${14 * scale}px ${getComputedStyle(document.body).fontFamily}`;
    context.fillText(`${this.title} · ${document.title}`, 12 * scale, 22 * scale);
    context.drawImage(this.canvas, 0, top);
    sheet.toBlob((blob) => save(blob, `${this.title.toLowerCase().replace(/\W+/g, "-")}.png`));
  }

  /**
   * @param {Context} context
   * @param {number} width
   * @param {number} height
   */
  #draw(context, width, height) {
    const again = this.chart.draw(context, width, height);
    const entry = this.span?.entry;
    if (this.chart.read) write(this.readout, entry ? this.chart.read(entry) : "");
    return again;
  }

  #describe() {
    this.#described = performance.now();
    this.#soon = undefined;
    this.canvas.setAttribute("aria-label", this.chart.describe());
    if (this.#table !== null) this.#fill();
  }

  #tabulate() {
    const open = this.#table === null;
    this.toggle.setAttribute("aria-expanded", String(open));
    this.holder.hidden = !open;
    if (open) return this.#fill();
    this.#table?.remove();
    this.#table = null;
  }

  #fill() {
    const made = table(this.title, this.chart.heads, this.chart.rows(this.#seen()));
    if (this.#table === null) this.holder.append(made);
    else this.#table.replaceWith(made);
    this.#table = made;
  }

  #seen() {
    if (!this.span) return [];
    const [from, to] = this.span.seen;
    return this.span.trace.entries.slice(Math.max(from, to - ROWS), to).reverse();
  }
}
