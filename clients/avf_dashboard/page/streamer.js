// One stream of this page through a session, by the protocol's `avf.v1.json`: never more unanswered than the server
// allows, and after a break from where the server stands.
// @ts-check

import * as api from "./api.js";

const TICK = 40; // milliseconds
const CHUNK = 3_200; // samples of one message
const TRIES = 8;
/** @type {Wire.End} */
const END = { type: "end" };

/** @typedef {"running" | "paused" | "broken" | "ended" | "failed"} State what becomes of a feed */

/** A feed on its way to a session. `onChange(streamer)` hears of what becomes of it. */
export class Streamer {
  /** @type {State} */
  state = "running";
  /** @type {string | null} */
  error = null;
  answered = 0; // observations
  #socket;
  /** @type {number | undefined} */
  #timer;
  #sent = 0; // items of the feed: observations, or samples
  #credit = 0;
  #began = 0; // when item 0 was due, in seconds
  #failures = 0;

  /** @param {{ session: Wire.Session, feed: Feed, name: string, onChange: (streamer: Streamer) => void, onStop?: () => void }} options */
  constructor({ session, feed, name, onChange, onStop = () => {} }) {
    this.session = session;
    this.feed = feed;
    this.name = name;
    this.onChange = onChange;
    this.onStop = onStop;
    this.size = feed.size ?? 1; // items to an observation
    this.#socket = this.#connect();
  }

  /** How much of it is done, or null where it has no end. */
  get progress() {
    return this.feed.total === null ? null : (this.answered * this.size) / this.feed.total;
  }

  pause() {
    this.#set("paused");
    clearInterval(this.#timer);
  }

  resume() {
    this.#set("running");
    this.#pace();
  }

  /** Send no more; the session stays as it is. */
  stop() {
    this.#finish("ended");
  }

  #connect() {
    const socket = new WebSocket(api.stream(this.session.id, { fields: "scalars" }), ["avf.v1.json"]);
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    return socket;
  }

  /** @param {Wire.ServerMessage} message */
  #hear(message) {
    if (message.type === "begin") this.#begin(message);
    else if (message.type === "error") this.#finish("failed", message.problem.detail);
    else if (message.type === "ended") this.#finish("ended");
    else if ("seq" in message) {
      this.answered = message.seq;
      this.#failures = 0;
      this.onChange(this);
    }
  }

  /** @param {Wire.Begin} begin */
  #begin({ session, credit, next_sample: sample }) {
    this.#credit = credit;
    this.answered = session.next_seq - 1;
    this.#sent = sample ?? this.answered;
    if ((this.feed.oldest ?? 0) > this.#sent) return this.#finish("failed", "the connection was gone for longer than the page remembers");
    this.#pace();
    if (this.state !== "paused") this.#set("running");
  }

  /** Go on at the feed's pace from where it stands. */
  #pace() {
    this.#began = performance.now() / 1000 - this.#sent / this.feed.pace;
    clearInterval(this.#timer);
    if (this.state !== "paused") this.#timer = setInterval(() => this.#send(), TICK);
  }

  #send() {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const due = this.feed.due(performance.now() / 1000 - this.#began);
    const allowed = (this.answered + this.#credit) * this.size;
    for (;;) {
      const to = Math.min(due, allowed, this.#sent + (this.size > 1 ? CHUNK : this.#credit));
      if (to <= this.#sent) break;
      for (const message of this.feed.messages(this.#sent, to)) this.#socket.send(JSON.stringify(message));
      this.#sent = to;
    }
    const done = this.feed.ended ? this.feed.due(Infinity) : this.feed.total;
    if (done !== null && this.#sent >= done) {
      clearInterval(this.#timer);
      this.#socket.send(JSON.stringify(END));
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    clearInterval(this.#timer);
    if (this.state === "ended" || this.state === "failed") return;
    if (code === 4404) return this.#finish("ended", "the session has ended");
    if (code === 4401) return this.#finish("failed", "the sign-in has ended");
    if (code === 1007 || code === 4409) return this.#finish("failed", reason || "another stream has gone on with the session");
    if (++this.#failures > TRIES) return this.#finish("failed", "the server does not answer");
    if (this.state !== "paused") this.#set("broken");
    setTimeout(() => {
      if (this.state !== "ended") this.#socket = this.#connect();
    }, Math.min(8_000, 300 * 2 ** this.#failures));
  }

  /**
   * @param {State} state
   * @param {string | null} [error]
   */
  #finish(state, error = null) {
    if (this.state === "ended" || this.state === "failed") return;
    clearInterval(this.#timer);
    this.error = error;
    this.#set(state);
    this.#socket.close();
    this.onStop();
  }

  /** @param {State} state */
  #set(state) {
    this.state = state;
    this.onChange(this);
  }
}
