// The list of sessions: a row each, of which only those that can be seen are ever painted, so that hundreds stay smooth.
// The order follows the figures every few seconds, not at every step: rows that jump cannot be read.
// @ts-check

import { h, mark, write } from "../dom.js";
import { count, duration, nats, probability, rate, surprise } from "../format.js";
import { sparkline } from "../charts/sparkline.js";
import { pen } from "../charts/surface.js";

const SORT = 2_000; // milliseconds between new orders
const STILL = 5; // seconds without a step after which a session no longer moves
const AGES = 5_000; // milliseconds between new ages

const now = () => Date.now() / 1000;
/** @param {Item} item */
const moves = (item) => !item.ended && now() - item.usedAt < STILL;

/** @typedef {{ title: string, kind?: string, key?: (item: Item) => string | number, text?: (item: Item) => string }} Column */
/** @typedef {{ item: Item, root: HTMLElement, cells: Record<string, HTMLElement>, canvas: HTMLCanvasElement, level: HTMLElement, seen: boolean }} Row */

/**
 * Columns: heading, class, key to sort by, text.
 * @type {Record<string, Column>}
 */
const COLUMNS = {
  id: { title: "Session", key: (item) => item.id },
  model: { title: "Model", kind: "wide", key: (item) => item.session.model, text: (item) => item.session.model },
  age: { title: "Age", kind: "wide number", key: (item) => -item.session.created_at, text: (item) => duration(now() - item.session.created_at) },
  rate: { title: "Steps/s", kind: "wide number", key: (item) => (moves(item) ? item.rate : 0), text: (item) => (moves(item) ? rate(item.rate) : "–") },
  line: { title: "Free energy" },
  F: { title: "nats", kind: "number", key: (item) => item.F, text: (item) => nats(item.F) },
  surprise: { title: "Surprise", key: (item) => -(item.surprise ?? 2), text: (item) => (item.surprise === null ? "–" : `p ${probability(item.surprise)}`) },
  steps: { title: "Step", kind: "wide number", key: (item) => item.seq, text: (item) => count(item.seq) },
  durability: { title: "Durability", kind: "wide", key: (item) => item.session.durability, text: (item) => (item.ended ? "ended" : item.session.durability) },
};

export class Rows {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Set<string>} */
  #dirty = new Set();
  #sorted = { name: "age", ascending: true };
  #wanted = { text: "", kind: "all" };
  /** @type {number | undefined} */
  #frame;

  /**
   * @param {import("../fleet.js").Fleet} fleet
   * @param {{ onCount: (shown: number, all: number) => void }} options
   */
  constructor(fleet, { onCount }) {
    this.fleet = fleet;
    this.onCount = onCount;
    this.body = h("div", { role: "rowgroup" });
    this.empty = h("p", { class: "empty", hidden: true }, "No sessions here. ", h("a", { href: "#/try", text: "Start one in this page" }), ", or stream with ", h("code", { text: "avf stream" }), ".");
    this.heads = Object.entries(COLUMNS).map(([name, column]) => this.#head(name, column));
    this.root = h("div", { class: "card list" }, h("div", { role: "table", "aria-label": "Sessions" }, h("div", { role: "rowgroup" }, h("div", { class: "row heads", role: "row" }, this.heads)), this.body), this.empty);
    this.watch = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "80px" });
    this.timers = [setInterval(() => this.#arrange(), SORT), setInterval(() => this.repaint(), AGES)];
    this.#headings();
  }

  /**
   * Items have changed; with `structure`, some have come or gone.
   * @param {Item[]} items
   * @param {{ structure: boolean }} options
   */
  changed(items, { structure }) {
    if (structure) this.#arrange();
    for (const item of items) this.#touch(item);
  }

  /**
   * Show those that hold `text`, and are of a kind.
   * @param {string} text
   * @param {string} kind
   */
  select(text, kind) {
    this.#wanted = { text: text.trim().toLowerCase(), kind };
    this.#arrange();
  }

  /** Paint all that can be seen again. */
  repaint() {
    for (const { item } of this.#rows.values()) this.#touch(item);
  }

  close() {
    this.watch.disconnect();
    this.timers.forEach(clearInterval);
    cancelAnimationFrame(this.#frame ?? 0);
  }

  /**
   * @param {string} name
   * @param {Column} column
   */
  #head(name, { title, kind, key }) {
    const label = key ? h("button", { type: "button", text: title, onclick: () => this.#sort(name) }) : title;
    return h("div", { role: "columnheader", class: kind, "data-column": name, "aria-sort": key ? "none" : null }, label);
  }

  /** @param {string} name */
  #sort(name) {
    this.#sorted = { name, ascending: this.#sorted.name === name && !this.#sorted.ascending };
    this.#headings();
    this.#arrange();
  }

  #headings() {
    const { name, ascending } = this.#sorted;
    for (const head of this.heads) {
      if (head.hasAttribute("aria-sort")) mark(head, "aria-sort", head.dataset.column === name ? (ascending ? "ascending" : "descending") : "none");
    }
  }

  /** @param {Item} item */
  #fits(item) {
    const { text, kind } = this.#wanted;
    if (text && !`${item.id} ${item.session.model}`.toLowerCase().includes(text)) return false;
    if (kind === "live") return moves(item);
    if (kind === "surprised") return surprise(item.surprise) === "high" || surprise(item.surprise) === "raised";
    return kind === "all" || item.ended;
  }

  /**
   * Largest first, unless ascending; what is not a number last.
   * @param {Item} a
   * @param {Item} b
   */
  #compare(a, b) {
    const { name, ascending } = this.#sorted;
    const { key = (/** @type {Item} */ item) => item.id } = COLUMNS[name];
    const [x, y] = [key(a), key(b)];
    const sign = ascending ? -1 : 1;
    if (typeof x === "string" || typeof y === "string") return -sign * String(x).localeCompare(String(y));
    if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y));
    return sign * (y - x) || a.id.localeCompare(b.id);
  }

  #arrange() {
    const items = [...this.fleet.items.values()];
    const shown = items.filter((item) => this.#fits(item)).sort((a, b) => this.#compare(a, b));
    const wanted = new Set(shown.map((item) => item.id));
    for (const [id, row] of this.#rows) if (!wanted.has(id)) this.#remove(id, row);
    let place = this.body.firstElementChild;
    for (const item of shown) {
      const { root } = this.#rows.get(item.id) ?? this.#add(item);
      if (place !== null && root === place) place = place.nextElementSibling;
      else if (!root.contains(document.activeElement)) this.body.insertBefore(root, place);
    }
    this.empty.hidden = shown.length > 0;
    this.onCount(shown.length, items.length);
  }

  /** @param {Item} item */
  #add(item) {
    const cells = Object.fromEntries(
      Object.entries(COLUMNS).map(([name, { kind }]) => [name, h("div", { role: "cell", class: kind, "data-cell": name })]),
    );
    cells.id.append(h("a", { href: `#/session/${encodeURIComponent(item.id)}`, text: item.id, class: "mono" }));
    const canvas = h("canvas", { "aria-hidden": "true" });
    cells.line.append(canvas);
    const level = h("span", { class: "surprise" });
    cells.surprise.append(level);
    const root = h("div", { class: "row", role: "row", "data-session": item.id }, Object.values(cells));
    const row = { item, root, cells, canvas, level, seen: false };
    this.#rows.set(item.id, row);
    this.watch.observe(root);
    return row;
  }

  /**
   * @param {string} id
   * @param {Row} row
   */
  #remove(id, row) {
    this.watch.unobserve(row.root);
    row.root.remove();
    this.#rows.delete(id);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.#rows.get(/** @type {HTMLElement} */ (target).dataset.session ?? "");
      if (!row) continue;
      row.seen = isIntersecting;
      if (isIntersecting) {
        if (!row.item.ended) this.fleet.recall(row.item);
        this.#touch(row.item);
      }
    }
  }

  /** @param {Item} item */
  #touch(item) {
    if (!this.#rows.get(item.id)?.seen) return;
    this.#dirty.add(item.id);
    this.#frame ??= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#frame = undefined;
    for (const id of this.#dirty) {
      const row = this.#rows.get(id);
      if (row) paint(row);
    }
    this.#dirty.clear();
  }
}

/** @param {Row} row */
function paint({ item, root, cells, canvas, level }) {
  for (const [name, { text }] of Object.entries(COLUMNS)) if (text && name !== "surprise") write(cells[name], text(item));
  const how = surprise(item.surprise);
  write(level, COLUMNS.surprise.text?.(item) ?? "");
  mark(level, "data-level", how);
  mark(level, "title", `surprise: ${how}`);
  mark(root, "data-ended", item.ended ? "" : null);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  const scale = Math.min(2, devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * scale)) Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  const context = pen(canvas);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  sparkline(context, width, height, item.points, { high: how === "high" });
}
