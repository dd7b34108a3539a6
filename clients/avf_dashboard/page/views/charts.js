// The charts of a session in their grid, all over one window: a new chart of the dashboard takes its place here.
// @ts-check

import { active } from "../charts/active.js";
import { energy } from "../charts/energy.js";
import { evidence } from "../charts/evidence.js";
import { fan } from "../charts/fan.js";
import { Figure } from "../charts/figure.js";
import { keyboard, pointers } from "../charts/gestures.js";
import { inputs } from "../charts/inputs.js";
import { iterations } from "../charts/iterations.js";
import { latents } from "../charts/latents.js";
import { Minimap } from "../charts/minimap.js";
import { colours, pen } from "../charts/surface.js";
import { h, save, write } from "../dom.js";
import { Forecaster } from "../forecaster.js";
import { FORMS } from "../forms.js";

/**
 * The small charts below the large ones, for sessions of every kind. A new one is a line here: docs/howto/add_a_chart.md.
 * @type {{ title: string, id: string, chart: (span: Span) => Chart }[]}
 */
const SMALL = [
  { title: "Free energy by iteration", id: "iterations", chart: iterations },
  { title: "Most active latents", id: "active", chart: active },
  { title: "Evidence and particles", id: "evidence", chart: evidence },
];

const RECENT = 30; // seconds without a step after which a forecast is no longer renewed

export class Charts {
  #gliding = false;

  /** @param {{ id: string, span: Span, model: Wire.ModelInfo, known: Known }} options */
  constructor({ id, span, model, known }) {
    this.id = id;
    this.span = span;
    this.known = known;
    const form = FORMS[model.modality];
    this.energy = new Figure("Free energy", energy(span, model.normal), { span, kind: "energy", id: "energy" });
    this.form = new Figure(form.title, form.chart(span, model), { span, kind: "form", id: "form" });
    this.latents = new Figure("Latents", latents(span), { span, kind: "belief", id: "latents" });
    const small = SMALL.map(({ title, id, chart }) => new Figure(title, chart(span), { span, kind: "small", id }));
    this.forecast = fan(model);
    if (model.input_size) small.unshift(new Figure("Inputs", inputs(span, { size: model.input_size, names: model.inputs }), { span, kind: "small", id: "inputs" }));
    this.fan = new Figure("Forecast", this.forecast, { span, kind: "small", id: "forecast" });
    this.figures = [this.energy, this.form, this.latents, ...small, this.fan];
    this.minimap = new Minimap(span);
    this.#explain(form, model);
    this.forecaster = this.#forecaster(model, form);
    this.root = h("div", { class: "charts", tabindex: "0", role: "group", "aria-label": "Charts. Space pauses, arrows move, plus and minus zoom, Home and End go to the oldest and the newest step." }, this.figures.map((figure) => figure.root));
    keyboard(this.root, span);
    for (const figure of [this.energy, this.form, this.latents]) pointers(figure.canvas, span);
  }

  /** Something has changed: draw, and go on while the window is still moving. */
  invalidate() {
    for (const figure of this.figures) if (figure !== this.fan) figure.invalidate();
    this.minimap.invalidate();
    if (this.#gliding) return;
    this.#gliding = true;
    requestAnimationFrame(() => {
      this.#gliding = false;
      if (this.span.glide()) this.invalidate();
    });
  }

  close() {
    for (const figure of this.figures) figure.close();
    this.minimap.close();
    this.forecaster.close();
  }

  /** All charts as one image, as they stand. */
  png() {
    const box = this.root.getBoundingClientRect();
    const scale = 2;
    const sheet = h("canvas", { width: box.width * scale, height: (box.height + 40) * scale });
    const context = pen(sheet);
    const colour = colours();
    context.scale(scale, scale);
    context.fillStyle = colour.paper;
    context.fillRect(0, 0, box.width, box.height + 40);
    context.fillStyle = colour.ink;
    const family = getComputedStyle(document.body).fontFamily;
    context.font = `600 15px ${family}`;
    context.fillText(`Session ${this.id}`, 14, 26);
    context.font = `600 12px ${family}`;
    for (const { title, root, canvas } of this.figures) {
      const [outer, inner] = [root.getBoundingClientRect(), canvas.getBoundingClientRect()];
      context.fillText(title, outer.x - box.x + 14, outer.y - box.y + 62);
      context.drawImage(canvas, inner.x - box.x, inner.y - box.y + 40, inner.width, inner.height);
    }
    sheet.toBlob((blob) => save(blob, `session-${this.id}.png`));
  }

  /**
   * @param {import("../forms.js").Form} form
   * @param {Wire.ModelInfo} model
   */
  #explain(form, model) {
    /** @param {(string | null)[]} given */
    const key = ([name, text]) => h("span", { class: "key", "data-key": name, text });
    this.energy.notes.append(...[[null, "reconstruction"], ["warm", "KL"], ...(model.normal ? [["dot", "surprising"]] : [])].map(key));
    this.energy.root.append(this.minimap.canvas);
    this.form.notes.append(...form.keys(model).map(key));
  }

  /**
   * @param {Wire.ModelInfo} model
   * @param {import("../forms.js").Form} form
   */
  #forecaster(model, form) {
    const says = h("span", { role: "status" });
    const again = h("button", { type: "button", class: "quiet", text: "Now", "aria-label": "Forecast now", onclick: async () => write(says, (await made.ask()) ?? "") });
    this.fan.notes.append(says, again);
    const made = new Forecaster({
      id: this.id,
      model,
      horizon: form.horizon,
      inputs: () => Array.from(this.span.trace.newest?.full?.inputs ?? []),
      wanted: () => !document.hidden && this.fan.surface.seen && this.span.live && this.#moves(),
      place: () => (this.span.trace.last ? `${this.span.trace.last.epoch}.${this.span.trace.last.seq}` : null),
      show: (forecast) => {
        this.forecast.show(forecast);
        write(says, `after step ${forecast.seq}`);
        this.fan.invalidate();
      },
    });
    if (!this.known.ended && this.span.trace.last) made.ask();
    return made;
  }

  #moves() {
    const { last } = this.span.trace;
    return !this.known.ended && last !== null && Date.now() / 1000 - last.at < RECENT;
  }
}
