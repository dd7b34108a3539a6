// What this page streams: whole observations, or samples of sound; at a pace, once or over and over, or as a microphone
// gives them. A feed can be read from any place that is still here, so that a stream that breaks goes on where it was.

const KEPT = 30; // seconds of a microphone

/** Observations at `pace` a second; with `loop`, over and over. */
export class Frames {
  constructor(frames, { pace, loop = false }) {
    Object.assign(this, { frames, pace, loop });
    this.total = loop ? null : frames.length;
  }

  /** How many may have been sent `seconds` after the beginning. */
  due(seconds) {
    const due = Math.floor(seconds * this.pace) + 1;
    return this.total === null ? due : Math.min(this.total, due);
  }

  /** The messages of observations [from, to), the first of which is `from`, counted from 0. */
  messages(from, to) {
    return Array.from({ length: to - from }, (_, i) => ({ type: "observe", seq: from + i + 1, x: this.frames[(from + i) % this.frames.length] }));
  }
}

/** Samples at `rate`, `size` to an observation; with `loop`, over and over. */
export class Sound {
  constructor(samples, { rate, size, loop = false }) {
    Object.assign(this, { samples, rate, size });
    this.total = loop ? null : samples.length;
  }

  due(seconds) {
    const due = Math.floor(seconds * this.rate);
    return this.total === null ? due : Math.min(this.total, due);
  }

  messages(from, to) {
    return [samplesMessage(from, to, (i) => this.samples[i % this.samples.length])];
  }
}

/** Samples that come while they are listened to; the last seconds are kept. */
export class Live {
  total = null;
  ended = false;
  #ring;
  #count = 0;

  constructor({ rate, size }) {
    Object.assign(this, { rate, size });
    this.#ring = new Float32Array(rate * KEPT);
  }

  /** Take a piece. */
  push(piece) {
    for (const sample of piece) this.#ring[this.#count++ % this.#ring.length] = sample;
  }

  due() {
    return this.#count;
  }

  /** The oldest sample that is still here. */
  get oldest() {
    return Math.max(0, this.#count - this.#ring.length);
  }

  messages(from, to) {
    return [samplesMessage(from, to, (i) => this.#ring[i % this.#ring.length])];
  }
}

function samplesMessage(from, to, at) {
  const bytes = new DataView(new ArrayBuffer(2 * (to - from)));
  for (let i = from; i < to; i++) {
    const level = Math.round(Math.max(-1, Math.min(1, at(i) || 0)) * 32_768);
    bytes.setInt16(2 * (i - from), Math.min(32_767, level), true);
  }
  let text = "";
  for (let i = 0; i < bytes.byteLength; i++) text += String.fromCharCode(bytes.getUint8(i));
  return { type: "samples", offset: from, s16: btoa(text) };
}
