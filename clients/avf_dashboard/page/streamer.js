// One stream of this page through a session, by the protocol's `avf.v1.json`: never more unanswered than the server
// allows, and after a break from where the server stands.

import * as api from "./api.js";

const TICK = 40; // milliseconds
const CHUNK = 3_200; // samples of one message
const TRIES = 8;

/** A feed on its way to a session. `onChange(streamer)` hears of what becomes of it. */
export class Streamer {
  state = "running"; // running, paused, broken, ended, failed
  error = null;
  answered = 0; // observations
  #socket = null;
  #timer = null;
  #sent = 0; // items of the feed: observations, or samples
  #credit = 0;
  #began = 0; // when item 0 was due, in seconds
  #failures = 0;

  constructor({ session, feed, name, onChange, onStop = () => {} }) {
    Object.assign(this, { session, feed, name, onChange, onStop });
    this.size = feed.size ?? 1; // items to an observation
    this.#connect();
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
    this.#socket = new WebSocket(api.stream(this.session.id, { fields: "scalars" }), ["avf.v1.json"]);
    this.#socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    this.#socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  #hear(message) {
    if (message.type === "begin") this.#begin(message);
    else if (message.type === "error") this.#finish("failed", message.problem.detail);
    else if (message.type === "ended") this.#finish("ended");
    else if (message.seq !== undefined) {
      this.answered = message.seq;
      this.#failures = 0;
      this.onChange(this);
    }
  }

  #begin({ session, credit, next_sample: sample }) {
    this.#credit = credit;
    this.answered = session.next_seq - 1;
    this.#sent = sample ?? this.answered;
    if (this.feed.oldest > this.#sent) return this.#finish("failed", "the connection was gone for longer than the page remembers");
    this.#pace();
    if (this.state !== "paused") this.#set("running");
  }

  /** Go on at the feed's pace from where it stands. */
  #pace() {
    const each = this.feed.pace ?? this.feed.rate;
    this.#began = performance.now() / 1000 - this.#sent / each;
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
    const done = this.feed.ended ? this.feed.due() : this.feed.total;
    if (done !== null && this.#sent >= done) {
      clearInterval(this.#timer);
      this.#socket.send(JSON.stringify({ type: "end" }));
    }
  }

  #closed(code, reason) {
    clearInterval(this.#timer);
    if (this.state === "ended" || this.state === "failed") return;
    if (code === 4404) return this.#finish("ended", "the session has ended");
    if (code === 4401) return this.#finish("failed", "the sign-in has ended");
    if (code === 1007 || code === 4409) return this.#finish("failed", reason || "another stream has gone on with the session");
    if (++this.#failures > TRIES) return this.#finish("failed", "the server does not answer");
    if (this.state !== "paused") this.#set("broken");
    setTimeout(() => this.state !== "ended" && this.#connect(), Math.min(8_000, 300 * 2 ** this.#failures));
  }

  #finish(state, error = null) {
    if (this.state === "ended" || this.state === "failed") return;
    clearInterval(this.#timer);
    this.error = error;
    this.#set(state);
    this.#socket.close();
    this.onStop();
  }

  #set(state) {
    this.state = state;
    this.onChange(this);
  }
}
