// How numbers read on this page: the same quantity always with the same digits, so that columns stand still.
// @ts-check

const NOTES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

/**
 * Nats, two decimals.
 * @param {number} value
 */
export const nats = (value) => (Number.isFinite(value) ? value.toFixed(2) : "–");

/**
 * A number of about three digits.
 * @param {number} value
 */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(size >= 1e5 ? 0 : 1)}k`;
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2);
}

const EPOCHS = 1e8; // from which on a time is one of the clock, in seconds since 1970

/**
 * When a step was, by its own time stamp: a time of day where it is one of the clock, else the number.
 * @param {number} time
 */
export function moment(time) {
  if (!Number.isFinite(time)) return "–";
  return time >= EPOCHS ? clock(time) : short(time);
}

/**
 * Steps a second, one decimal.
 * @param {number} value
 */
export const rate = (value) => (Number.isFinite(value) ? value.toFixed(1) : "–");

/**
 * A count with thin spaces between thousands.
 * @param {number} value
 */
export const count = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u2009");

/**
 * A probability: small ones are told apart.
 * @param {number | null} p
 */
export function probability(p) {
  if (p === null || p === undefined) return "–";
  return p < 0.001 ? "<0.001" : p.toFixed(p < 0.1 ? 3 : 2);
}

/**
 * How surprising a p-value is, in words.
 * @param {number | null} p
 */
export function surprise(p) {
  if (p === null || p === undefined) return "unknown";
  if (p < 0.01) return "high";
  return p < 0.05 ? "raised" : "normal";
}

/**
 * Seconds in the largest unit that fits.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/**
 * Seconds of work: milliseconds below one.
 * @param {number | null} seconds
 */
export function latency(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "–";
  return seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`;
}

/**
 * Bytes in MB or GB.
 * @param {number | null} value
 */
export function bytes(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  return value >= 1e9 ? `${(value / 1e9).toFixed(2)} GB` : `${(value / 1e6).toFixed(0)} MB`;
}

/**
 * The time of day of seconds since 1970.
 * @param {number} at
 */
export const clock = (at) => (Number.isFinite(at) ? new Date(at * 1000).toLocaleTimeString([], { hour12: false }) : "–");

/**
 * A MIDI number as a note: 60 is C4.
 * @param {number} midi
 */
export const note = (midi) => `${NOTES[midi % 12]}${Math.floor(midi / 12) - 1}`;

/**
 * Round positions for ticks between two values, about `most` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} most
 */
export function ticks(low, high, most) {
  const raw = (high - low) / Math.max(1, most);
  if (!(raw > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= raw) ?? 10 * power;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}
