// Where the steps of a window stand from left to right: by their times where they have times, else evenly.
// @ts-check

/**
 * The times of the entries that are seen, where each has one and none goes back; else null.
 * @param {Span} span
 * @returns {number[] | null}
 */
function timesOf(span) {
  const times = span.trace.entries.slice(...span.seen).map((entry) => entry.time ?? NaN);
  const grow = times.every((time, at) => Number.isFinite(time) && (at === 0 || time > times[at - 1]));
  return grow && times.length > 1 ? times : null;
}

/** Positions of a span as shares of its window, from 0 at the left to 1. Entry `at` stands at position `at + 0.5`. */
export class Ruler {
  /** @param {Span} span */
  constructor(span) {
    this.span = span;
    this.times = timesOf(span);
    this.begin = this.#time(span.first);
    this.end = this.#time(span.last);
  }

  get even() {
    return this.times === null;
  }

  /** @param {number} position */
  share(position) {
    return (this.#time(position) - this.begin) / (this.end - this.begin);
  }

  /**
   * The position that a share of the window is at.
   * @param {number} share
   */
  position(share) {
    const time = this.begin + share * (this.end - this.begin);
    if (this.times === null) return time;
    const [from] = this.span.seen;
    const { times } = this;
    const after = times.findIndex((each) => each > time);
    if (after > 0) return from + after - 0.5 + (time - times[after - 1]) / (times[after] - times[after - 1]);
    const [at, known] = after === 0 ? [0, times[0]] : [times.length - 1, times[times.length - 1]];
    return from + at + 0.5 + (time - known) / this.#usual(times);
  }

  /**
   * When a position is: between two entries, in between; beyond them, as far on as steps are apart; without times, itself.
   * @param {number} position
   */
  #time(position) {
    const { times } = this;
    if (times === null) return position;
    const at = position - 0.5 - this.span.seen[0];
    const last = times.length - 1;
    const before = Math.max(0, Math.min(last, Math.floor(at)));
    if (at < 0 || before === last) return times[before] + (at - before) * this.#usual(times);
    return times[before] + (at - before) * (times[before + 1] - times[before]);
  }

  /** @param {number[]} times */
  #usual(times) {
    return (times[times.length - 1] - times[0]) / (times.length - 1);
  }
}
