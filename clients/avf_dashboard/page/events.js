// Server-sent events by fetch, which can carry the token in a header and a Last-Event-ID of ours. A connection that
// breaks is made again by itself; what was missed comes as history, and nothing is asked for twice.
// @ts-check

import { ask, Problem } from "./api.js";
import { expire } from "./auth.js";

const FIRST = 400; // milliseconds before the first new try
const MOST = 8_000;
const SILENCE = 40_000; // the server says something every 15 seconds
const ENDS = new Set([401, 403, 404, 422]); // asking again would not help

/** @typedef {(event: Happened) => void} OnEvent hears events */
/** @typedef {(state: "live" | "lost" | "gone", error?: Error) => void} OnState hears of the connection */

/** Cut text into events, whatever the pieces it comes in. */
export class Parser {
  #rest = "";
  /** @type {string | null} */
  id = null;

  /**
   * The events that `text` completes.
   * @param {string} text
   */
  feed(text) {
    this.#rest += text;
    const blocks = this.#rest.split(/\r?\n\r?\n/);
    this.#rest = blocks.pop() ?? "";
    return blocks.map((block) => this.#read(block)).filter((event) => event !== null);
  }

  /**
   * @param {string} block
   * @returns {Happened | null}
   */
  #read(block) {
    let name = "message";
    /** @type {string[]} */
    const data = [];
    for (const line of block.split(/\r?\n/)) {
      const [, field, value] = /** @type {RegExpExecArray} */ (/^([^:]*):? ?(.*)$/s.exec(line)); // matches any line
      if (field === "event") name = value;
      else if (field === "data") data.push(value);
      else if (field === "id") this.id = value;
    }
    return data.length ? /** @type {Happened} */ ({ name, data: JSON.parse(data.join("\n")) }) : null;
  }
}

/**
 * Listen until told to stop; gives the function that stops.
 * `after` is the id of an event, or of an entry of a history, to go on from. `onEvent({ name, data })` hears events; `onState("live" | "lost" | "gone", error)` the connection.
 * @param {string} path
 * @param {{ query?: Query, after?: string | null, onEvent: OnEvent, onState?: OnState }} options
 */
export function listen(path, { query = {}, after = null, onEvent, onState = () => {} }) {
  const stopped = new AbortController();
  run(path, { query, after, onEvent, onState, stopped: stopped.signal });
  return () => stopped.abort();
}

/**
 * @param {string} path
 * @param {{ query: Query, after: string | null, onEvent: OnEvent, onState: OnState, stopped: AbortSignal }} options
 */
async function run(path, { query, after, onEvent, onState, stopped }) {
  let last = after;
  let failures = 0;
  while (!stopped.aborted) {
    const parser = new Parser();
    parser.id = last;
    try {
      await connection(path, { query, parser, stopped, onEvent, onLive: () => (onState("live"), (failures = 0)) });
    } catch (error) {
      if (stopped.aborted) return;
      if (error instanceof Problem && ENDS.has(error.status)) return onState("gone", error);
    }
    if (stopped.aborted) return;
    last = parser.id;
    onState("lost");
    await pause(Math.min(MOST, FIRST * 2 ** failures++) * (0.5 + Math.random() / 2), stopped);
  }
}

/**
 * @param {string} path
 * @param {{ query: Query, parser: Parser, stopped: AbortSignal, onEvent: OnEvent, onLive: () => void }} options
 */
async function connection(path, { query, parser, stopped, onEvent, onLive }) {
  const broken = new AbortController();
  const stop = () => broken.abort();
  stopped.addEventListener("abort", stop);
  let silence = setTimeout(stop, SILENCE);
  try {
    /** @type {Record<string, string>} */
    const headers = { Accept: "text/event-stream" };
    if (parser.id) headers["Last-Event-ID"] = parser.id;
    const response = await ask(path, { query, headers, signal: broken.signal });
    onLive();
    if (response.body === null) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(stop, SILENCE);
      for (const event of parser.feed(value)) {
        if (event.name === "expired") expire();
        else onEvent(event);
      }
    }
  } finally {
    clearTimeout(silence);
    stopped.removeEventListener("abort", stop);
    broken.abort();
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} stopped
 */
function pause(milliseconds, stopped) {
  return new Promise((/** @type {(nothing?: undefined) => void} */ resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    stopped.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
