// What comes next, as the server forecasts it from where the session stands: in the form of its kind. Levels of
// probability open like a fan; music goes on as a roll of probabilities, video as the frames that are expected.
// @ts-check

import { lowest, shape } from "../forms.js";
import { note, short } from "../format.js";
import { Cells, rgb } from "./cells.js";
import { colours } from "./surface.js";

/**
 * A forecast for `Figure`. `model` is a ModelInfo; `show(forecast)` gives it one to draw.
 * @param {Wire.ModelInfo} model
 * @returns {Chart & { show(forecast: Wire.Forecast): void }}
 */
export function fan(model) {
  /** @type {Wire.Forecast | null} */
  let forecast = null;
  const cells = new Cells();
  const draws = { music: roll, video: frames, audio: samples, series: opening };

  /** @type {Draw} */
  function draw(context, width, height) {
    if (forecast) draws[model.modality](context, width, height, { forecast, model, cells });
    else empty(context, width, height);
    return false;
  }

  const rows = () => forecast?.mean.map((mean, i) => [`+${i + 1}`, first(mean), first(forecast?.deviation[i] ?? [])]) ?? [];
  return {
    draw, rows, heads: ["step ahead", "mean of the first dimensions", "their deviations"],
    describe: () => describe(forecast), show: (/** @type {Wire.Forecast} */ made) => void (forecast = made),
  };
}

/** @param {number[]} values */
const first = (values) => values.slice(0, 6).map(short).join(", ");

/** @param {Wire.Forecast | null} forecast */
function describe(forecast) {
  if (!forecast) return "Forecast: none yet.";
  return `Forecast of ${forecast.mean.length} steps after step ${forecast.seq}: next, ${first(forecast.mean[0])}.`;
}

/**
 * @param {Context} context
 * @param {number} width
 * @param {number} height
 */
function empty(context, width, height) {
  context.fillStyle = colours().soft;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText("no forecast yet", width / 2, height / 2);
}

/**
 * @param {Context} context
 * @param {{ left: number, step: number, count: number, height: number }} options
 */
function aheadAxis(context, { left, step, count, height }) {
  context.fillStyle = colours().soft;
  context.textAlign = "center";
  context.textBaseline = "bottom";
  const every = Math.max(1, Math.ceil(28 / step));
  for (let i = 0; i < count; i += every) context.fillText(`+${i + 1}`, left + (i + 0.5) * step, height - 2);
}

/**
 * @param {Context} context
 * @param {number} width
 * @param {number} height
 * @param {{ forecast: Wire.Forecast, model: Wire.ModelInfo, cells: Cells }} options
 */
function roll(context, width, height, { forecast, model, cells }) {
  const count = forecast.mean.length;
  const likely = forecast.mean.flatMap((mean) => [...mean.keys()].filter((key) => mean[key] > 0.1));
  const [low, high] = likely.length ? [Math.min(...likely) - 2, Math.max(...likely) + 3] : [20, 60];
  const [left, top, bottom] = [46, 6, height - 20];
  const step = (width - left - 10) / count;
  cells.begin(count, high - low);
  const colour = rgb(colours().accent);
  forecast.mean.forEach((mean, i) => {
    for (let key = low; key < high; key++) if (mean[key] > 0.02) cells.set(i, key - low, colour, mean[key]);
  });
  cells.draw(context, left, top, width - left - 10, bottom - top);
  context.fillStyle = colours().soft;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const each = (bottom - top) / (high - low);
  for (let key = low; key < high; key++) {
    const pitch = lowest(model) + key;
    if (pitch % 12 === 0 || (pitch % 12 === 7 && each > 7)) context.fillText(note(pitch), left - 7, bottom - (key - low + 0.5) * each);
  }
  aheadAxis(context, { left, step, count, height });
}

/**
 * @param {Context} context
 * @param {number} width
 * @param {number} height
 * @param {{ forecast: Wire.Forecast, model: Wire.ModelInfo, cells: Cells }} options
 */
function frames(context, width, height, { forecast, model, cells }) {
  const [rows, columns] = shape(model);
  const count = forecast.mean.length;
  const size = Math.min((width - 10) / count - 4, height - 26);
  const step = size + 4;
  forecast.mean.forEach((frame, i) => {
    cells.begin(columns, rows);
    context.fillStyle = "#000";
    context.fillRect(6 + i * step, 4, size, size);
    frame.forEach((value, at) => cells.set(at % columns, rows - 1 - Math.floor(at / columns), [255, 255, 255], value));
    cells.draw(context, 6 + i * step, 4, size, size);
  });
  aheadAxis(context, { left: 6, step, count, height });
}

/**
 * Pairs of levels from the outside in, over points of one line.
 * @param {Context} context
 * @param {{ width: number, height: number, points: number[][], at: number[], count: number }} options
 */
function levels(context, { width, height, points, at, count }) {
  const [left, top, bottom] = [46, 8, height - 20];
  const all = points.flat();
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = (high - low) * 0.06 || 0.5;
  /** @param {number} i */
  const x = (i) => left + ((i + 0.5) / points[0].length) * (width - left - 10);
  /** @param {number} value */
  const y = (value) => bottom - ((value - low + room) / (high - low + 2 * room)) * (bottom - top);
  const colour = colours();
  for (let k = 0; k < Math.floor(points.length / 2); k++) {
    context.fillStyle = k ? colour.accent_soft : colour.accent_faint;
    context.beginPath();
    points[k].forEach((value, i) => context.lineTo(x(i), y(value)));
    [...points[points.length - 1 - k]].map((value, i) => [value, i]).reverse().forEach(([value, i]) => context.lineTo(x(i), y(value)));
    context.fill();
  }
  context.strokeStyle = colour.accent;
  context.lineWidth = 1.4;
  context.beginPath();
  at.forEach((value, i) => context.lineTo(x(i), y(value)));
  context.stroke();
  context.fillStyle = colour.soft;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of [low, (low + high) / 2, high]) context.fillText(short(value), left - 7, y(value));
  aheadAxis(context, { left, step: (width - left - 10) / count, count, height });
}

/**
 * @param {Context} context
 * @param {number} width
 * @param {number} height
 * @param {{ forecast: Wire.Forecast }} options
 */
function opening(context, width, height, { forecast }) {
  const points = forecast.quantiles.map((level) => level.map((values) => values[0]));
  levels(context, { width, height, points, at: forecast.mean.map((mean) => mean[0]), count: forecast.mean.length });
}

/**
 * @param {Context} context
 * @param {number} width
 * @param {number} height
 * @param {{ forecast: Wire.Forecast }} options
 */
function samples(context, width, height, { forecast }) {
  const points = forecast.quantiles.map((level) => level.flat());
  levels(context, { width, height, points, at: forecast.mean.flat(), count: forecast.mean.length });
}
