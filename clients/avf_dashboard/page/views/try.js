// Start a session from this page: with a sample that the page makes, with a file, or with the microphone.
// @ts-check

import * as api from "../api.js";
import { h, write } from "../dom.js";
import { Frames, Live, Sound } from "../feeds.js";
import { lowest, shape } from "../forms.js";
import * as midi from "../midi.js";
import * as samples from "../samples.js";
import { decode, microphone } from "../sound/inputs.js";

const PACE = { music: 6, video: 12, series: 10 }; // observations a second
/** @type {Record<Wire.Modality, string>} */
const NAMES = { music: "A chorale", audio: "Tones", video: "A ball", series: "Waves" };
const RATE = 16_000;
const PARTICLES = [1, 4, 16, 64, 256];

/** @param {File} file */
const isMidi = (file) => /\.midi?$/i.test(file.name) || file.type === "audio/midi";

export class Try {
  name = "try";
  title = "Try it";

  /** @param {Shared} shared */
  constructor(shared) {
    this.shared = shared;
    /** @type {Wire.ModelInfo[]} */
    this.models = [];
    this.model = h("select", { "aria-label": "Model", onchange: () => this.#fit() });
    this.particles = h("select", { "aria-label": "Particles" });
    this.says = h("p", { role: "status", class: "soft" });
    this.file = h("input", { type: "file", accept: ".mid,.midi,.wav,audio/*", hidden: true, onchange: () => this.#picked() });
    this.sample = h("button", { type: "button", class: "main", text: "Play the sample", onclick: () => this.#guard(() => this.#sample()) });
    this.choose = h("button", { type: "button", text: "Choose a file", onclick: () => this.file.click() });
    this.listen = h("button", { type: "button", text: "Listen", onclick: () => this.#guard(() => this.#microphone()) });
    this.drop = h(
      "section", { class: "card source drop", ondragover: (event) => this.#over(event, true), ondragleave: (event) => this.#over(event, false), ondrop: (event) => this.#dropped(event) },
      h("h2", { text: "A file" }),
      h("p", { text: "Drop a MIDI file for a model of music, or a WAV file (or what else your browser can play) for a model of sound. It is read in this page; only its observations are sent." }),
      h("div", { class: "actions" }, this.choose, this.file),
    );
    this.sampleText = h("p");
    this.microphoneText = h("p");
    this.root = h(
      "div", {},
      h("div", { class: "head" }, h("h1", { text: "Try it here" }), h("label", {}, "Model ", this.model), h("label", {}, "Particles ", this.particles)),
      h("p", { class: "soft", text: "A session is opened on this server with the model you choose, and what you play is filtered while you look." }),
      h("div", { class: "sources" },
        h("section", { class: "card source" }, h("h2", { text: "A sample" }), this.sampleText, h("div", { class: "actions" }, this.sample)),
        this.drop,
        h("section", { class: "card source" }, h("h2", { text: "Your microphone" }), this.microphoneText, h("div", { class: "actions" }, this.listen)),
      ),
      this.says,
    );
  }

  async open() {
    try {
      this.models = await api.models();
      this.shared.state("live");
    } catch (error) {
      this.shared.state("lost");
      return write(this.says, `${api.words(error)}.`);
    }
    this.model.replaceChildren(...this.models.map((model) => h("option", { value: model.name, text: `${model.name} (${model.modality})` })));
    this.#fit();
  }

  close() {}

  get #chosen() {
    const found = this.models.find((model) => model.name === this.model.value);
    if (!found) throw new midi.Unreadable("this server holds no model");
    return found;
  }

  /**
   * A model of this kind: the one chosen where it is, else the first. Raises Unreadable.
   * @param {Wire.Modality} modality
   * @param {string} what
   */
  #of(modality, what) {
    const found = this.#chosen.modality === modality ? this.#chosen : this.models.find((model) => model.modality === modality);
    if (!found) throw new midi.Unreadable(`${what} needs a model of ${modality === "audio" ? "sound" : modality}, and this server holds none`);
    return found;
  }

  #fit() {
    const { modality, max_particles: most } = this.#chosen;
    const offered = PARTICLES.filter((count) => count <= most);
    this.particles.replaceChildren(...offered.map((count) => h("option", { value: String(count), text: String(count) })));
    const sound = this.models.some((model) => model.modality === "audio");
    write(this.sampleText, `${NAMES[modality]}, made by this page, over and over until you stop it.`);
    write(this.microphoneText, sound ? "What you say, as you say it. It is sent to this server only." : "Needs a model of sound, and this server holds none.");
    this.listen.disabled = !sound;
  }

  /**
   * Do it, and say what went wrong where something did.
   * @param {() => unknown} act
   */
  async #guard(act) {
    write(this.says, "");
    try {
      await act();
    } catch (error) {
      write(this.says, `${api.words(error)}.`);
    }
  }

  /** @param {Parameters<Running["start"]>[0]} options */
  async #go(options) {
    const session = await this.shared.running.start({ ...options, particles: Number(this.particles.value) });
    location.hash = `#/session/${session.id}`;
  }

  #sample() {
    const model = this.#chosen;
    const { modality, observation_size: size, input_size: inputs, low, high, name } = model;
    if (modality === "audio") {
      const rate = model.sample_rate ?? RATE;
      return this.#sound("Tones", new Sound(samples.tones({ rate }), { rate, size, loop: true }), model);
    }
    const frames = {
      music: () => samples.chorale({ size, first: lowest(model) }),
      video: () => samples.ball({ shape: shape(model), low, high }),
      series: () => samples.waves({ size, low, high }),
    }[modality]();
    return this.#go({ name: NAMES[modality], model: name, feed: new Frames(frames, { pace: PACE[modality], loop: true, inputs }) });
  }

  /**
   * @param {string} name
   * @param {Sound | Live} feed
   * @param {Wire.ModelInfo} model
   * @param {() => void} [onStop]
   */
  #sound(name, feed, model, onStop) {
    return this.#go({ name, model: model.name, feed, audio: { rate: feed.rate, encoding: "s16", channels: 1 }, onStop });
  }

  #picked() {
    const file = this.file.files?.[0];
    if (file) this.#file(file);
  }

  /** @param {File} file */
  #file(file) {
    return this.#guard(async () => {
      const buffer = await file.arrayBuffer();
      if (isMidi(file)) {
        const model = this.#of("music", "A MIDI file");
        const frames = midi.frames(midi.parse(buffer), { size: model.observation_size, first: lowest(model) });
        return this.#go({ name: file.name, model: model.name, feed: new Frames(frames, { pace: PACE.music }) });
      }
      const model = this.#of("audio", "Sound");
      const rate = model.sample_rate ?? RATE;
      return this.#sound(file.name, new Sound(await decode(buffer, rate), { rate, size: model.observation_size }), model);
    });
  }

  async #microphone() {
    const model = this.#of("audio", "The microphone");
    const feed = new Live({ rate: model.sample_rate ?? RATE, size: model.observation_size });
    const stop = await microphone(feed.rate, (piece) => feed.push(piece));
    try {
      await this.#sound("Microphone", feed, model, stop);
    } catch (error) {
      stop();
      throw error;
    }
  }

  /**
   * @param {DragEvent} event
   * @param {boolean} over
   */
  #over(event, over) {
    event.preventDefault();
    if (over) this.drop.dataset.over = "";
    else delete this.drop.dataset.over;
  }

  /** @param {DragEvent} event */
  #dropped(event) {
    this.#over(event, false);
    const file = event.dataTransfer?.files[0];
    if (file) this.#file(file);
  }
}
