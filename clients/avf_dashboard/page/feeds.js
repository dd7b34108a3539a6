// What this page streams: whole observations, or samples of sound; at a pace, once or over and over, or as a microphone
// gives them. A feed can be read from any place that is still here, so that a stream that breaks goes on where it was.
// @ts-check

const KEPT = 30; // seconds of a microphone

/** Observations at `pace` a second; with `loop`, over and over. Models that take `inputs` are told that nothing was done. */
export class Frames {
  /**
   * @param {number[][]} frames
   * @param {{ pace: number, loop?: boolean, inputs?: number }} options
   */
  constructor(frames, { pace, loop = false, inputs = 0 }) {
    this.frames = frames;
    this.pace = pace;
    this.loop = loop;
    this.total = loop ? null : frames.length;
    this.nothing = inputs ? { inputs: Array.from({ length: inputs }, () => 0) } : {};
  }

  /**
   * How many may have been sent `seconds` after the beginning.
   * @param {number} seconds
   */
  due(seconds) {
    const due = Math.floor(seconds * this.pace) + 1;
    return this.total === null ? due : Math.min(this.total, due);
  }

  /**
   * The messages of observations [from, to), the first of which is `from`, counted from 0.
   * @param {number} from
   * @param {number} to
   * @returns {(Wire.Observe | Wire.Samples)[]}
   */
  messages(from, to) {
    return Array.from({ length: to - from }, (_, i) => ({ type: /** @type {const} */ ("observe"), seq: from + i + 1, x: this.frames[(from + i) % this.frames.length], ...this.nothing }));
  }
}

/** Samples at `rate`, `size` to an observation; with `loop`, over and over. */
export class Sound {
  /**
   * @param {Float32Array} samples
   * @param {{ rate: number, size: number, loop?: boolean }} options
   */
  constructor(samples, { rate, size, loop = false }) {
    this.samples = samples;
    this.rate = rate;
    this.pace = rate;
    this.size = size;
    this.total = loop ? null : samples.length;
  }

  /** @param {number} seconds */
  due(seconds) {
    const due = Math.floor(seconds * this.rate);
    return this.total === null ? due : Math.min(this.total, due);
  }

  /**
   * @param {number} from
   * @param {number} to
   * @returns {(Wire.Observe | Wire.Samples)[]}
   */
  messages(from, to) {
    return [samplesMessage(from, to, (i) => this.samples[i % this.samples.length])];
  }
}

/** Samples that come while they are listened to; the last seconds are kept. */
export class Live {
  total = null; // it has no end
  ended = false;
  #ring;
  #count = 0;

  /** @param {{ rate: number, size: number }} options */
  constructor({ rate, size }) {
    this.rate = rate;
    this.pace = rate;
    this.size = size;
    this.#ring = new Float32Array(rate * KEPT);
  }

  /**
   * Take a piece.
   * @param {Float32Array} piece
   */
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

  /**
   * @param {number} from
   * @param {number} to
   * @returns {(Wire.Observe | Wire.Samples)[]}
   */
  messages(from, to) {
    return [samplesMessage(from, to, (i) => this.#ring[i % this.#ring.length])];
  }
}

/**
 * @param {number} from
 * @param {number} to
 * @param {(i: number) => number} at
 * @returns {Wire.Samples}
 */
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
