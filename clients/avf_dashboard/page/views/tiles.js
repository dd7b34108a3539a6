// How the server is, in a handful of figures.
// @ts-check

import { h, mark, write } from "../dom.js";
import { bytes, count, duration, latency, short } from "../format.js";
import { sparkline } from "../charts/sparkline.js";
import { Surface } from "../charts/surface.js";

const POINTS = 90;

/** @type {Record<string, [title: string, read: (status: Wire.Status) => [value: string, more: string | null]]>} */
const TILES = {
  steps: ["Steps a second", (s) => [short(s.steps_per_s), null]],
  latency: ["Step latency, median", (s) => [latency(s.latency_p50_s), `99 %: ${latency(s.latency_p99_s)}`]],
  sessions: ["Open sessions", (s) => [count(s.sessions), `${count(s.streams)} streams`]],
  batch: ["Rows in a batch", (s) => [s.batch_rows === null ? "–" : s.batch_rows.toFixed(1), `of ${s.max_batch} · ${count(s.queue)} queued`]],
  redis: ["Redis", (s) => (s.store.ok ? [latency(s.store.latency_s), "answers"] : ["down", s.store.detail])],
  memory: ["Memory", (s) => [bytes(s.memory_bytes), s.load === null ? null : `load ${s.load.toFixed(1)} of ${s.cpus} cores`]],
  device: ["Device", (s) => [s.device, s.stopping ? "stopping" : `up ${duration(s.uptime_s)}`]],
};

export class Tiles {
  /** @type {number[]} */
  #rates = [];

  constructor() {
    /** @type {Record<string, { root: HTMLElement, value: HTMLElement, more: HTMLElement }>} */
    this.cells = {};
    this.spark = h("canvas", { "aria-hidden": "true" });
    this.surface = new Surface(this.spark, (context, width, height) => {
      sparkline(context, width, height, this.#rates);
      return false;
    });
    this.root = h("div", { class: "tiles", "aria-label": "Server", role: "group" }, Object.entries(TILES).map(([name, [title]]) => this.#tile(name, title)));
  }

  /**
   * Show a status.
   * @param {Wire.Status} status
   */
  show(status) {
    for (const [name, [, read]] of Object.entries(TILES)) {
      const [value, more] = read(status);
      const cell = this.cells[name];
      write(cell.value, value);
      if (more !== null) write(cell.more, more);
      mark(cell.root, "data-state", name === "redis" && !status.store.ok ? "bad" : null);
    }
    this.#rates.push(status.steps_per_s);
    if (this.#rates.length > POINTS) this.#rates.shift();
    this.surface.invalidate();
    mark(this.root, "aria-busy", null);
  }

  /** The server did not answer: figures are old. */
  lost() {
    mark(this.root, "aria-busy", "true");
  }

  close() {
    this.surface.close();
  }

  /**
   * @param {string} name
   * @param {string} title
   */
  #tile(name, title) {
    const value = h("dd", { text: "–" });
    const more = h("dd", {}, name === "steps" ? this.spark : "\u00a0");
    const root = h("dl", { class: "card tile", "data-tile": name }, h("dt", { text: title }), value, more);
    this.cells[name] = { root, value, more };
    return root;
  }
}
