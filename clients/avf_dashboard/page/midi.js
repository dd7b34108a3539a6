// Standard MIDI files as piano rolls, cut as the models of chorales were trained: a frame is a quarter note, and a note
// counts in each frame at whose beginning it sounds. The piece is moved to C, and up by an octave, as the JSB arrays are.
// @ts-check

const DRUMS = 9;
const MAJOR = [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88]; // Krumhansl and Kessler
const MINOR = [6.33, 2.68, 3.52, 5.38, 2.6, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17];

/** A file that is not what it should be, in words for whoever dropped it. */
export class Unreadable extends Error {}

/**
 * The notes of a file: {pitch, start, end} in quarter notes. Raises Unreadable.
 * @param {ArrayBuffer} buffer
 */
export function parse(buffer) {
  const data = new Reader(new DataView(buffer));
  if (buffer.byteLength < 14 || data.text(4) !== "MThd") throw new Unreadable("this is no MIDI file: it does not begin with MThd");
  const length = data.u32();
  data.u16(); // the format: tracks are merged whatever it is
  const tracks = data.u16();
  const division = data.u16();
  if (division & 0x8000 || division === 0) throw new Unreadable("this MIDI file counts in film frames, not in quarter notes");
  data.at = 8 + length;
  /** @type {Note[]} */
  const notes = [];
  for (let i = 0; i < tracks && data.at + 8 <= buffer.byteLength; i++) {
    const kind = data.text(4);
    const size = data.u32();
    const end = Math.min(buffer.byteLength, data.at + size);
    if (kind === "MTrk") track(data, end, notes, division);
    data.at = end;
  }
  if (!notes.length) throw new Unreadable("this MIDI file has no notes");
  return notes;
}

class Reader {
  /** @param {DataView} view */
  constructor(view) {
    this.view = view;
    this.at = 0;
  }

  u8() {
    if (this.at >= this.view.byteLength) throw new Unreadable("this MIDI file is cut short");
    return this.view.getUint8(this.at++);
  }

  u16() {
    return (this.u8() << 8) | this.u8();
  }

  u32() {
    return this.u16() * 65_536 + this.u16();
  }

  /** @param {number} count */
  text(count) {
    return String.fromCharCode(...Array.from({ length: count }, () => this.u8()));
  }

  /** A number of seven bits a byte. */
  varied() {
    let value = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.u8();
      value = value * 128 + (byte & 0x7f);
      if (!(byte & 0x80)) return value;
    }
    throw new Unreadable("this MIDI file has a number of more than four bytes");
  }
}

/**
 * @param {Reader} data
 * @param {number} end
 * @param {Note[]} notes
 * @param {number} division
 */
function track(data, end, notes, division) {
  const sounding = new Map();
  let [ticks, status] = [0, 0];
  /** @param {number} key */
  const stop = (key) => {
    const begun = sounding.get(key);
    if (begun === undefined) return;
    sounding.delete(key);
    notes.push({ pitch: key % 128, start: begun / division, end: ticks / division });
  };
  while (data.at < end) {
    ticks += data.varied();
    const byte = data.u8();
    if (byte & 0x80) status = byte;
    if (status === 0xff || status === 0xf0 || status === 0xf7) {
      if (status === 0xff) data.u8();
      const skipped = data.varied();
      data.at += skipped;
      continue;
    }
    const a = byte & 0x80 ? data.u8() : byte;
    const kind = status >> 4;
    const b = kind === 0xc || kind === 0xd ? 0 : data.u8();
    const key = (status & 0xf) * 128 + a;
    if ((kind !== 0x8 && kind !== 0x9) || (status & 0xf) === DRUMS) continue;
    stop(key);
    if (kind === 0x9 && b > 0) sounding.set(key, ticks);
  }
  for (const key of [...sounding.keys()]) stop(key);
}

/**
 * By how many semitones the notes are moved to C major or C minor: -6 to 5, the smallest that do.
 * @param {Note[]} notes
 */
export function shiftToC(notes) {
  const weights = new Array(12).fill(0);
  for (const { pitch, start, end } of notes) weights[pitch % 12] += end - start;
  /**
   * @param {number[]} profile
   * @param {number} tonic
   */
  const score = (profile, tonic) => profile.reduce((sum, value, i) => sum + value * weights[(i + tonic) % 12], 0);
  /** @param {number[]} profile */
  const norm = (profile) => Math.hypot(...profile.map((value) => value - profile.reduce((a, b) => a + b) / 12));
  /** @param {number[]} profile */
  const mean = (profile) => profile.reduce((a, b) => a + b) / 12;
  const total = weights.reduce((a, b) => a + b);
  let best = { value: -Infinity, tonic: 0 };
  for (const profile of [MAJOR, MINOR]) {
    for (let tonic = 0; tonic < 12; tonic++) {
      const value = (score(profile, tonic) - mean(profile) * total) / norm(profile);
      if (value > best.value) best = { value, tonic };
    }
  }
  return ((18 - best.tonic) % 12) - 6;
}

/**
 * Frames of `size` keys from MIDI pitch `first` up.
 * @param {Note[]} notes
 * @param {{ size: number, first: number }} options
 */
export function frames(notes, { size, first }) {
  const shift = shiftToC(notes) + 12;
  const count = Math.ceil(notes.reduce((most, note) => Math.max(most, note.end), 0));
  const made = Array.from({ length: count }, () => new Array(size).fill(0));
  for (const { pitch, start, end } of notes) {
    const key = pitch + shift - first;
    if (key < 0 || key >= size) continue;
    for (let frame = Math.ceil(start - 1e-6); frame < end - 1e-6; frame++) made[frame][key] = 1;
  }
  return made;
}
