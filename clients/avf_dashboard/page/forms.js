// Which chart observations are drawn in, by the kind of model.

import { audio } from "./charts/audio.js";
import { lines } from "./charts/lines.js";
import { pianoroll } from "./charts/pianoroll.js";
import { video } from "./charts/video.js";

const HEARD = [["ring", "heard"], [null, "probability"], ["alert", "unexpected"]];
const SOUND = [["ink", "heard"], ["band", "expected, two deviations"]];
const POINTS = [["ink", "observed"], [null, "expected"], ["band", "one and two deviations"]];

/** How each kind is drawn: title, chart of a span, colours explained, steps of a window, steps ahead of a forecast. */
export const FORMS = {
  music: {
    title: "Heard and expected",
    chart: (span, model) => pianoroll(span, { first: model.first_pitch ?? 21 }),
    keys: HEARD,
    width: 64,
    horizon: 16,
  },
  audio: {
    title: "Heard and expected",
    chart: (span, model) => audio(span, { size: model.observation_size, rate: model.sample_rate ?? 16_000 }),
    keys: SOUND,
    width: 160,
    horizon: 8,
  },
  video: {
    title: "Seen and expected",
    chart: (span, model) => video(span, { shape: model.shape ?? square(model.observation_size) }),
    keys: [],
    width: 64,
    horizon: 8,
  },
  series: {
    title: "Observed and expected",
    chart: (span, model) => lines(span, { size: model.observation_size }),
    keys: POINTS,
    width: 120,
    horizon: 24,
  },
};

const square = (size) => {
  const side = Math.ceil(Math.sqrt(size));
  return [side, side];
};
