// A session, live: what it hears, what it expected, how sure it is, how surprised; paused, it can be gone back through.
// @ts-check

import * as api from "../api.js";
import { h, mark, write } from "../dom.js";
import { listen } from "../events.js";
import { saveCsv } from "../export.js";
import { Facts } from "./facts.js";
import { Charts } from "./charts.js";
import { Span } from "../span.js";
import { Trace } from "../trace.js";
import { foreign } from "../units.js";
import { FORMS } from "../forms.js";

const BACK = 500; // steps of one request of a history
const KEPT = 24; // traces kept of sessions that are no longer looked at
const HEAVY = 1_024; // numbers of an observation from which on estimates are thinned
const THINNED = 0.1; // seconds

export class SessionView {
  name = "session";
  /** @type {(() => void) | null} */
  #stop = null;
  #closed = new AbortController();

  /**
   * @param {Shared} shared
   * @param {string} id
   */
  constructor(shared, id) {
    this.shared = shared;
    this.id = id;
    this.title = id.slice(0, 10);
    this.known = shared.traces.get(id) ?? { trace: new Trace(), session: null, ended: false, model: null };
    shared.traces.delete(id);
    shared.traces.set(id, this.known); // the newest last
    for (const oldest of shared.traces.keys()) if (shared.traces.size > KEPT) shared.traces.delete(oldest);
    this.span = new Span(this.known.trace, 64);
    this.facts = new Facts();
    this.notice = h("div", { class: "card notice", role: "status", hidden: true });
    this.warning = h("div", { class: "card notice", role: "status", "data-kind": "problem", "data-warning": "units", hidden: true });
    this.holder = h("div");
    this.name_ = h("span", { class: "soft" });
    this.follow = h("button", { type: "button", text: "Pause", onclick: () => (this.span.live ? this.span.pause() : this.span.follow()) });
    this.earlier = h("button", { type: "button", text: "Load earlier", hidden: true, onclick: () => this.#older() });
    this.root = h("div", {}, this.#head(), this.notice, this.warning, this.facts.root, this.holder);
    this.span.onChange(() => this.#changed());
  }

  async open() {
    try {
      await this.#load();
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      const status = error instanceof api.Problem ? error.status : null;
      if (status === 404) this.#gone();
      else if (status === 401) return;
      else this.#later(error);
    }
    const { model, session } = this.known;
    if (model && session) this.#draw(model, session);
  }

  close() {
    this.#closed.abort();
    this.#stop?.();
    this.charts?.close();
  }

  repaint() {
    this.charts?.invalidate();
  }

  #head() {
    /**
     * @param {string} text
     * @param {string} label
     * @param {() => void} onclick
     */
    const button = (text, label, onclick) => h("button", { type: "button", text, "aria-label": label, onclick });
    return h(
      "div", { class: "head" },
      h("h1", {}, h("span", { class: "mono-id", text: this.id })),
      this.name_,
      h("div", { class: "controls", role: "toolbar", "aria-label": "Window and files" },
        this.follow,
        button("−", "Show more steps", () => this.span.zoom(1.4)),
        button("+", "Show fewer steps", () => this.span.zoom(1 / 1.4)),
        button("⇤", "Go to the oldest step", () => this.span.oldest()),
        this.earlier,
        button("Fork", "Fork: a new session that goes on from here", () => this.#fork()),
        button("CSV", "Save all steps as CSV", () => saveCsv(this.known.trace.entries, `session-${this.id}`)),
        button("PNG", "Save all charts as one image", () => this.charts?.png()),
      ),
    );
  }

  /** What it is, what it has felt so far, and what comes. */
  async #load() {
    const { signal } = this.#closed;
    this.shared.state("connecting");
    const session = await api.one(this.id, signal);
    this.known.session = session;
    this.known.model = (await this.shared.model(session.model)) ?? null;
    this.known.ended = false;
    const page = await api.history(this.id, { limit: BACK, newest: true }, signal);
    this.known.trace.addHistory(page.entries);
    this.earlier.hidden = this.#reaches;
    if (page.entries.length) this.known.trace.addEstimate(await api.estimate(this.id, signal));
    this.#follow(page.cursor, session.observation_size > HEAVY);
  }

  /** Whether the trace reaches back to the first step. */
  get #reaches() {
    const [first] = this.known.trace.entries;
    return first === undefined || (first.epoch === 1 && first.seq === 1);
  }

  /**
   * @param {string | null} after
   * @param {boolean} heavy
   */
  #follow(after, heavy) {
    this.#stop = listen(api.eventsOf(this.id), {
      query: { with: "observation", interval: heavy ? THINNED : undefined },
      after,
      onEvent: (event) => this.#hear(event),
      onState: (state) => (state === "gone" ? this.#gone() : this.shared.state(state)),
    });
  }

  /** @param {Happened} event */
  #hear({ name, data }) {
    const { trace } = this.known;
    if (name === "estimate") trace.addEstimate(data, Date.now() / 1000);
    else if (name === "history") trace.addHistory(data.entries);
    else if (name === "reset") trace.addMark(data.epoch, 1, "reset", `reset: epoch ${data.epoch} begins`);
    else if (name === "end") return this.#gone();
    this.#changed();
  }

  #changed() {
    const entry = this.span.entry;
    this.facts.show(entry, this.known);
    this.#warn();
    write(this.follow, this.span.live ? "Pause" : "Follow");
    mark(this.follow, "class", this.span.live ? null : "main");
    this.charts?.invalidate();
  }

  /**
   * @param {Wire.ModelInfo} model
   * @param {Wire.Session} session
   */
  #draw(model, session) {
    write(this.name_, `${model.name} · opened ${new Date(session.created_at * 1000).toLocaleString()} · seed ${session.seed}`);
    if (!this.charts) {
      this.span.width = FORMS[model.modality].width;
      this.charts = new Charts({ id: this.id, span: this.span, model, known: this.known });
      this.holder.replaceChildren(this.charts.root);
    }
    this.#changed();
  }

  /** What looks as if it were in other units than the model's. */
  #warn() {
    const { model, trace } = this.known;
    const said = model ? foreign(model, trace.entries) : [];
    write(this.warning, said.join(". "));
    this.warning.hidden = said.length === 0;
  }

  /** It has ended: what was seen of it stays. */
  #gone() {
    this.#stop?.();
    this.known.ended = true;
    this.shared.state("gone");
    const any = this.known.trace.entries.length > 0;
    this.#say(any ? "This session has ended. What this page has seen of it can still be read and saved." : "There is no such session: it ended, expired, or belongs to somebody else.", "info");
    this.earlier.hidden = true;
    this.#changed();
  }

  /** @param {unknown} error */
  #later(error) {
    this.shared.state("lost");
    this.#say(`${api.words(error)}. Trying again.`, "problem");
    setTimeout(() => {
      if (this.#closed.signal.aborted) return;
      this.notice.hidden = true;
      this.open();
    }, 2_000);
  }

  /**
   * @param {string} text
   * @param {string} kind
   * @param {...(Node | string)} more
   */
  #say(text, kind, ...more) {
    this.notice.replaceChildren(text, ...more);
    mark(this.notice, "data-kind", kind);
    this.notice.hidden = false;
  }

  async #older() {
    const { trace } = this.known;
    const before = trace.entries.length;
    const { epoch, seq } = trace.entries[0];
    const cursor = seq > 1 ? api.place(epoch, Math.max(0, seq - 1 - BACK)) : api.place(epoch - 1, 0);
    this.earlier.disabled = true;
    try {
      const page = await api.history(this.id, { limit: BACK, cursor }, this.#closed.signal);
      trace.addHistory(page.entries);
      this.earlier.hidden = this.#reaches || trace.entries.length === before; // or no more is kept
      this.span.shift(trace.entries.length - before);
    } catch (error) {
      this.#say(`${api.words(error)}.`, "problem");
    } finally {
      this.earlier.disabled = false;
    }
  }

  async #fork() {
    try {
      const made = await api.fork(this.id);
      const { trace } = this.known;
      const here = trace.last;
      if (here) trace.addMark(here.epoch, here.seq + 1, "fork", `fork: ${made.id.slice(0, 6)}`);
      const theirs = new Trace();
      theirs.addMark(1, 1, "fork", `forked from ${this.id.slice(0, 6)}`);
      this.shared.traces.set(made.id, { trace: theirs, session: made, ended: false, model: this.known.model });
      this.#say("Forked: ", "info", h("a", { href: `#/session/${made.id}`, text: made.id }), ", which goes on from this step.");
      this.#changed();
    } catch (error) {
      this.#say(`${api.words(error)}.`, "problem");
    }
  }
}
