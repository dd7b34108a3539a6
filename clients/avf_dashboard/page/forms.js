// Which chart observations are drawn in, by the kind of model.
// @ts-check

import { audio } from "./charts/audio.js";
import { lines } from "./charts/lines.js";
import { pianoroll } from "./charts/pianoroll.js";
import { video } from "./charts/video.js";

/** @typedef {[kind: string | null, text: string]} Key a colour, explained */
/** @typedef {{ title: string, chart: (span: Span, model: Wire.ModelInfo) => Chart, keys: (model: Wire.ModelInfo) => Key[], width: number, horizon: number }} Form */

/** @type {Key[]} */
const HEARD = [["ring", "heard"], [null, "probability"], ["alert", "unexpected"]];
/** @type {Key[]} */
const SOUND = [["ink", "heard"], ["band", "expected, two deviations"]];
/** @type {Key[]} */
const POINTS = [["ink", "observed"], [null, "expected"]];

/**
 * How each kind is drawn: title, chart of a span, colours explained, steps of a window, steps ahead of a forecast.
 * @type {Record<Wire.Modality, Form>}
 */
export const FORMS = {
  music: {
    title: "Heard and expected",
    chart: (span, model) => pianoroll(span, { first: lowest(model) }),
    keys: () => HEARD,
    width: 64,
    horizon: 16,
  },
  audio: {
    title: "Heard and expected",
    chart: (span, model) => audio(span, { size: model.observation_size, rate: model.sample_rate ?? 16_000 }),
    keys: () => SOUND,
    width: 160,
    horizon: 8,
  },
  video: {
    title: "Seen and expected",
    chart: (span, model) => video(span, { shape: shape(model) }),
    keys: () => [],
    width: 64,
    horizon: 8,
  },
  series: {
    title: "Observed and expected",
    chart: (span, model) => lines(span, { size: model.observation_size, names: model.channels }),
    keys: (model) => [...POINTS, ["band", model.quantiles.length ? "5 to 95 and 25 to 75 % of the prediction" : "one and two deviations"]],
    width: 120,
    horizon: 24,
  },
};

/**
 * The MIDI pitch of the lowest key of a model of music: the lowest of a piano, where it does not say.
 * @param {Wire.ModelInfo} model
 */
export const lowest = (model) => model.first_pitch ?? 21;

/**
 * Rows and columns of a model of video: a square, where it does not say.
 * @param {Wire.ModelInfo} model
 */
export const shape = (model) => {
  const side = Math.ceil(Math.sqrt(model.observation_size));
  return model.shape ?? [side, side];
};
