// All sessions of whoever looks, as they stand: listed once, then followed by events. The newest figures win; what came
// between two looks is counted, not shown.
// @ts-check

import * as api from "./api.js";
import { listen } from "./events.js";

const POINTS = 60; // of a sparkline
const PAGE = 100; // sessions of one request
const MOST = 2_000; // sessions listed
const INTERVAL = 1; // seconds between events: as often as a list can be read

/** A session of the list. */
export class Item {
  /**
   * @param {Wire.Session} session
   * @param {Wire.HistoryEntry | null} last
   */
  constructor(session, last) {
    this.session = session;
    this.id = session.id;
    /** @type {number[]} */
    this.points = [];
    this.at = NaN; // when the newest step was made
    this.rate = NaN; // steps a second, once two looks tell
    this.ended = false;
    this.asked = false; // whether its history was asked for
    this.epoch = session.epoch;
    this.seq = session.next_seq - 1;
    this.usedAt = session.created_at;
    this.F = NaN;
    /** @type {number | null} */
    this.surprise = null;
    if (last) this.take(last, 0);
  }

  /**
   * Take the newest figures; `steps` have come since those before.
   * @param {Wire.HistoryEntry} entry
   * @param {number} steps
   */
  take(entry, steps) {
    const seconds = entry.at - this.at;
    if (steps > 0 && seconds > 0) this.rate = Number.isNaN(this.rate) ? steps / seconds : 0.7 * this.rate + (0.3 * steps) / seconds;
    this.epoch = entry.epoch;
    this.seq = entry.seq;
    this.F = entry.free_energy;
    this.surprise = entry.surprise ?? null;
    this.at = entry.at;
    this.usedAt = steps > 0 ? Date.now() / 1000 : Math.min(Date.now() / 1000, entry.at); // by this clock
    this.points.push(entry.free_energy);
    if (this.points.length > POINTS) this.points.shift();
  }
}

/** @typedef {(changed: Item[], what: { structure: boolean }) => void} OnChange */
/** @typedef {import("./events.js").OnState} OnState */

/** The sessions. `onChange(changed, {structure})` hears of items that changed, and of those come or gone. */
export class Fleet {
  /** @type {Map<string, Item>} */
  items = new Map();
  /** @type {(() => void) | null} */
  #stop = null;
  #closed = false;
  #listed = false; // whether the list is as new as the connection

  /** @param {{ onChange: OnChange, onState: OnState }} options */
  constructor({ onChange, onState }) {
    this.onChange = onChange;
    this.onState = onState;
  }

  /** List and follow. */
  async open() {
    this.#stop = listen("events", {
      query: { interval: INTERVAL },
      onEvent: (event) => this.#hear(event),
      onState: (state, error) => {
        this.onState(state, error);
        if (state === "live" && this.#listed) this.#list();
      },
    });
    this.#list();
  }

  close() {
    this.#closed = true;
    this.#stop?.();
  }

  /**
   * The points of an item from before it was looked at, asked for once.
   * @param {Item} item
   */
  async recall(item) {
    if (item.asked) return;
    item.asked = true;
    try {
      const { entries } = await api.history(item.id, { limit: POINTS, newest: true });
      const older = entries.filter((entry) => entry.epoch < item.epoch || entry.seq <= item.seq - item.points.length + 1);
      older.sort((a, b) => a.epoch - b.epoch || a.seq - b.seq);
      item.points = [...older.map((entry) => entry.free_energy), ...item.points.slice(1)].slice(-POINTS);
      this.onChange([item], { structure: false });
    } catch {
      // It has ended meanwhile, or there is no answer: the line begins with what comes.
    }
  }

  /** Those who used it last come first; all there are, up to a bound. Repeated after each new connection. */
  async #list() {
    this.#listed = false;
    /** @type {string | null} */
    let cursor = null;
    const seen = new Set();
    try {
      do {
        const page = await api.sessions({ cursor, limit: PAGE });
        for (const { session, last } of page.sessions) {
          seen.add(session.id);
          if (!this.items.has(session.id)) this.items.set(session.id, new Item(session, last));
        }
        cursor = page.cursor;
        if (!this.#closed) this.onChange([...this.items.values()], { structure: true });
      } while (cursor && seen.size < MOST && !this.#closed);
    } catch {
      return; // the connection's state says so, and the list is asked for again with the next one
    } finally {
      this.#listed = true;
    }
    for (const item of this.items.values()) if (!seen.has(item.id) && !cursor) item.ended = true;
    if (!this.#closed) this.onChange([...this.items.values()], { structure: true });
  }

  /** @param {Happened} event */
  #hear({ name, data }) {
    if (name === "steps") this.#steps(data);
    else if (name === "opened") this.#opened(data);
    else if (name === "ended") this.#ended(data);
  }

  /** @param {Wire.Moves} moves */
  #steps({ sessions }) {
    /** @type {Item[]} */
    const changed = [];
    let unknown = false;
    for (const { session, steps, last } of sessions) {
      const item = this.items.get(session);
      if (!item) unknown = true;
      else {
        item.take(last, steps);
        changed.push(item);
      }
    }
    if (unknown) this.#list();
    this.onChange(changed, { structure: false });
  }

  /** @param {Wire.Session} session */
  #opened(session) {
    const item = this.items.get(session.id) ?? new Item(session, null);
    this.items.set(session.id, item);
    this.onChange([item], { structure: true });
  }

  /** @param {{ session: string }} event */
  #ended({ session }) {
    const item = this.items.get(session);
    if (!item) return;
    item.ended = true;
    this.onChange([item], { structure: true });
  }
}
