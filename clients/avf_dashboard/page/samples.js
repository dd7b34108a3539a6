// Something to listen to at once, made in the page: a chorale, tones, a ball, waves. The same each time.
// @ts-check

const CHORDS = [[0, 4, 7], [5, 9, 12], [7, 11, 14], [0, 4, 7], [9, 12, 16], [2, 5, 9], [7, 11, 14], [0, 4, 7]];
const STRANGE = 47; // the frame of music in which something that does not belong sounds

/**
 * Numbers within 0 to 1, the same for the same seed (mulberry32).
 * @param {number} seed
 */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * A chorale in four voices, with one chord that nobody would write: frames of `size` keys from pitch `first`.
 * @param {{ size: number, first: number }} options
 */
export function chorale({ size, first }) {
  const draw = random(7);
  /**
   * @param {number[]} pitches
   * @param {number} to
   */
  const nearest = (pitches, to) => pitches.reduce((a, b) => (Math.abs(b - to) < Math.abs(a - to) ? b : a));
  /**
   * @param {number[]} chord
   * @param {number} low
   * @param {number} high
   */
  const within = (chord, low, high) => Array.from({ length: high - low }, (_, i) => low + i).filter((pitch) => chord.some((tone) => (pitch - tone) % 12 === 0));
  let voices = [60, 67, 72, 79];
  return Array.from({ length: 96 }, (_, at) => {
    const chord = CHORDS[Math.floor(at / 2) % CHORDS.length];
    const wander = () => Math.round((draw() - 0.5) * 3);
    /** @type {[low: number, high: number][]} */
    const ranges = [[48, 65], [59, 71], [65, 77], [71, 86]];
    voices = voices.map((voice, i) => nearest(within(chord, ...ranges[i]), at % 2 ? voice : voice + wander()));
    const sounding = at === STRANGE ? [61, 66, 70, 75] : voices;
    const frame = new Array(size).fill(0);
    for (const pitch of sounding) if (pitch >= first && pitch < first + size) frame[pitch - first] = 1;
    return frame;
  });
}

/**
 * Twenty seconds of tones that glide and pulse, with breath between them.
 * @param {{ rate: number }} options
 */
export function tones({ rate }) {
  const draw = random(3);
  const made = new Float32Array(rate * 20);
  let phase = 0;
  for (let i = 0; i < made.length; i++) {
    const t = i / rate;
    const pitch = 150 * 2 ** (Math.sin(t * 0.9) * 0.5 + [0, 4, 7, 5][Math.floor(t / 1.5) % 4] / 12);
    phase += (2 * Math.PI * pitch) / rate;
    const loud = Math.max(0, Math.sin(((t % 1.5) / 1.5) * Math.PI)) ** 0.7;
    const voice = Math.sin(phase) + 0.5 * Math.sin(2 * phase) + 0.3 * Math.sin(3 * phase) + 0.2 * Math.sin(5 * phase);
    made[i] = 0.22 * loud * voice + 0.01 * (draw() - 0.5);
  }
  return made;
}

/**
 * A bright ball between four walls.
 * @param {{ shape: number[], low: number | null, high: number | null }} options
 */
export function ball({ shape: [rows, columns], low, high }) {
  const [dark, bright] = [low ?? 0, high ?? 1];
  const size = Math.min(rows, columns) / 9;
  /**
   * @param {number} value
   * @param {number} span
   */
  const fold = (value, span) => span - Math.abs((((value % (2 * span)) + 2 * span) % (2 * span)) - span);
  return Array.from({ length: 240 }, (_, t) => {
    const y = size + fold(t * 1.7, rows - 2 * size);
    const x = size + fold(t * 2.3, columns - 2 * size);
    return Array.from({ length: rows * columns }, (_, i) => {
      const away = Math.hypot(Math.floor(i / columns) - y, (i % columns) - x);
      return dark + (bright - dark) * Math.max(0, Math.min(1, size - away + 0.5));
    });
  });
}

/**
 * Waves of several lengths; where numbers are within 0 to 1, beats that come and go.
 * @param {{ size: number, low: number | null, high: number | null }} options
 */
export function waves({ size, low, high }) {
  const draw = random(11);
  const beats = low === 0 && high === 1;
  return Array.from({ length: 400 }, (_, t) =>
    Array.from({ length: size }, (_, d) => {
      const wave = Math.sin((2 * Math.PI * t) / (9 + 4 * d) + d) + 0.3 * Math.sin((2 * Math.PI * t) / (31 + 7 * d));
      if (beats) return wave + 0.4 * (draw() - 0.5) > 0.2 ? 1 : 0;
      const value = wave + 0.1 * (draw() - 0.5);
      if (low === null || high === null) return value;
      return Math.max(low, Math.min(high, (low + high) / 2 + (value * (high - low)) / 3.2));
    }),
  );
}
