// The list of sessions: a row each, of which only those that can be seen are ever painted, so that hundreds stay smooth.
// The order follows the figures every few seconds, not at every step: rows that jump cannot be read.

import { h, mark, write } from "../dom.js";
import { count, duration, nats, probability, rate, surprise } from "../format.js";
import { sparkline } from "../charts/sparkline.js";


const SORT = 2_000; // milliseconds between new orders
const STILL = 5; // seconds without a step after which a session no longer moves
const AGES = 5_000; // milliseconds between new ages

const now = () => Date.now() / 1000;
const moves = (item) => !item.ended && now() - item.usedAt < STILL;

/** Columns: heading, class, key to sort by, text. */
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
  #rows = new Map();
  #dirty = new Set();
  #sorted = { name: "age", ascending: true };
  #wanted = { text: "", kind: "all" };
  #frame = null;

  constructor(fleet, { onCount }) {
    Object.assign(this, { fleet, onCount });
    this.body = h("div", { role: "rowgroup" });
    this.empty = h("p", { class: "empty", hidden: true }, "No sessions here. ", h("a", { href: "#/try", text: "Start one in this page" }), ", or stream with ", h("code", { text: "avf stream" }), ".");
    this.heads = Object.entries(COLUMNS).map(([name, column]) => this.#head(name, column));
    this.root = h("div", { class: "card list" }, h("div", { role: "table", "aria-label": "Sessions" }, h("div", { role: "rowgroup" }, h("div", { class: "row heads", role: "row" }, this.heads)), this.body), this.empty);
    this.watch = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "80px" });
    this.timers = [setInterval(() => this.#arrange(), SORT), setInterval(() => this.repaint(), AGES)];
    this.#headings();
  }

  /** Items have changed; with `structure`, some have come or gone. */
  changed(items, { structure }) {
    if (structure) this.#arrange();
    for (const item of items) this.#touch(item);
  }

  /** Show those that hold `text`, and are of a kind. */
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
    cancelAnimationFrame(this.#frame);
  }

  #head(name, { title, kind, key }) {
    const label = key ? h("button", { type: "button", text: title, onclick: () => this.#sort(name) }) : title;
    return h("div", { role: "columnheader", class: kind, "data-column": name, "aria-sort": key ? "none" : null }, label);
  }

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

  #fits(item) {
    const { text, kind } = this.#wanted;
    if (text && !`${item.id} ${item.session.model}`.toLowerCase().includes(text)) return false;
    if (kind === "live") return moves(item);
    if (kind === "surprised") return surprise(item.surprise) === "high" || surprise(item.surprise) === "raised";
    return kind === "all" || item.ended;
  }

  /** Largest first, unless ascending; what is not a number last. */
  #compare(a, b) {
    const { name, ascending } = this.#sorted;
    const { key } = COLUMNS[name];
    const [x, y] = [key(a), key(b)];
    const sign = ascending ? -1 : 1;
    if (typeof x === "string") return -sign * x.localeCompare(y);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
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
      if (root === place) place = place.nextElementSibling;
      else if (!root.contains(document.activeElement)) this.body.insertBefore(root, place);
    }
    this.empty.hidden = shown.length > 0;
    this.onCount(shown.length, items.length);
  }

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

  #remove(id, row) {
    this.watch.unobserve(row.root);
    row.root.remove();
    this.#rows.delete(id);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.#rows.get(target.dataset.session);
      if (!row) continue;
      row.seen = isIntersecting;
      if (isIntersecting) {
        if (!row.item.ended) this.fleet.recall(row.item);
        this.#touch(row.item);
      }
    }
  }

  #touch(item) {
    if (!this.#rows.get(item.id)?.seen) return;
    this.#dirty.add(item.id);
    this.#frame ??= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#frame = null;
    for (const id of this.#dirty) {
      const row = this.#rows.get(id);
      if (row) paint(row);
    }
    this.#dirty.clear();
  }
}

function paint({ item, root, cells, canvas, level }) {
  for (const [name, { text }] of Object.entries(COLUMNS)) if (text && name !== "surprise") write(cells[name], text(item));
  const how = surprise(item.surprise);
  write(level, COLUMNS.surprise.text(item));
  mark(level, "data-level", how);
  mark(level, "title", `surprise: ${how}`);
  mark(root, "data-ended", item.ended ? "" : null);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  const scale = Math.min(2, devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * scale)) Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  sparkline(context, width, height, item.points, { high: how === "high" });
}
