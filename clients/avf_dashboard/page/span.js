// Which steps are seen: one window over a trace, shared by all charts of a session. Live it follows the newest step;
// paused it stands still while steps go on coming.
// @ts-check

import { calm } from "./dom.js";

const LEAST = 8;

/** A window of `width` steps that ends before position `end`; null ends at the newest. */
export class Span {
  #shown = 0; // where the end is drawn, on its way to where it is
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /**
   * @param {Trace} trace
   * @param {number} width
   */
  constructor(trace, width) {
    this.trace = trace;
    this.width = width;
    /** @type {number | null} */
    this.end = null;
    /** @type {number | null} */
    this.hover = null; // the position under the pointer, or null
  }

  get live() {
    return this.end === null;
  }

  /** Where the window ends: as long as there are few steps, they fill it from the left. */
  get target() {
    return this.end ?? Math.max(this.trace.entries.length, this.width);
  }

  /**
   * Hear of every change.
   * @param {() => void} listener
   */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  /** Positions from first to last, as they are to be drawn now; true while they are still moving. */
  glide() {
    const away = this.target - this.#shown;
    const settled = calm() || Math.abs(away) < 0.02 || Math.abs(away) > this.width / 2;
    this.#shown = settled ? this.target : this.#shown + away * 0.28;
    return !settled;
  }

  get first() {
    return this.#shown - this.width;
  }

  get last() {
    return this.#shown;
  }

  /** The positions of entries that can be seen: [from, to). */
  get seen() {
    const from = Math.max(0, Math.floor(this.first));
    return [from, Math.max(from, Math.min(this.trace.entries.length, Math.ceil(this.last)))];
  }

  /** The entry that figures are shown of: under the pointer, else the last that can be seen. */
  get entry() {
    const entries = this.trace.entries;
    const at = this.hover ?? Math.min(entries.length, Math.round(this.target)) - 1;
    return entries[Math.max(0, Math.min(entries.length - 1, at))] ?? null;
  }

  /**
   * The nearest entry at or before the one shown that has its arrays, or null.
   * @returns {Whole | null}
   */
  get full() {
    const entries = this.trace.entries;
    const start = this.entry === null ? -1 : this.trace.find(this.entry.epoch, this.entry.seq);
    for (let at = start; at >= Math.max(0, start - this.width); at--) if (entries[at].full) return /** @type {Whole} */ (entries[at]);
    return null;
  }

  /** Stand still on what there is; few steps fill the window. */
  pause() {
    const end = this.trace.entries.length;
    if (this.live) this.#set({ end, width: Math.max(LEAST, Math.min(this.width, end)) });
  }

  follow() {
    this.#set({ end: null });
  }

  /**
   * Move by steps; past the newest, it follows again.
   * @param {number} steps
   */
  move(steps) {
    const end = this.target + steps;
    const least = Math.min(this.width, this.trace.entries.length);
    this.#set({ end: end >= this.trace.entries.length ? null : Math.max(least, end) });
  }

  /** Show the oldest step that is known. */
  oldest() {
    this.#set({ end: Math.min(Math.round(this.width), this.trace.entries.length) });
  }

  /**
   * Show `factor` times as many steps, about position `at` (where given, and paused).
   * @param {number} factor
   * @param {number | null} [at]
   */
  zoom(factor, at = null) {
    const most = Math.max(LEAST * 4, this.trace.entries.length * 1.05);
    const width = Math.max(LEAST, Math.min(most, this.width * factor));
    const end = this.live || at === null ? this.end : at + ((this.target - at) * width) / this.width;
    this.#set({ width, end });
  }

  /**
   * Keep its place when `count` older steps have been put before all others.
   * @param {number} count
   */
  shift(count) {
    this.#shown += count;
    this.#set({ end: this.end === null ? null : this.end + count });
  }

  /**
   * The pointer is over position `at`, or over none.
   * @param {number | null} at
   */
  point(at) {
    const within = at === null || at < 0 || at >= this.trace.entries.length ? null : Math.floor(at);
    if (within !== this.hover) this.#set({ hover: within });
  }

  /** @param {Partial<Pick<Span, "width" | "end" | "hover">>} changes */
  #set(changes) {
    Object.assign(this, changes);
    for (const listener of this.#listeners) listener();
  }
}
