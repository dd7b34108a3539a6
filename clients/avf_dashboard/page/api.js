// The server's public interface, as docs/protocol.md states it; nothing else is asked. Addresses are relative to the
// page, so that it works behind a path prefix.
// @ts-check

import * as auth from "./auth.js";

const ROOT = new URL("v1/", document.baseURI);

/** A problem that the server answered. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {Partial<Wire.Problem>} said
   */
  constructor(status, said) {
    super(said.detail || said.title || `the server answered ${status}`);
    this.status = status;
    this.name = (said.type || "").replace("urn:avf:problem:", "") || `status-${status}`;
  }
}

/** No answer: the server or the way to it is gone. */
export class Unreachable extends Error {}

/**
 * What went wrong, in words.
 * @param {unknown} error
 */
export const words = (error) => (error instanceof Error ? error.message : String(error));

/**
 * The address of a route, with its query.
 * @param {string} path
 * @param {Query} [query]
 */
export function address(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
  }
  return url;
}

/**
 * Ask and give the response, or raise Problem or Unreachable. `key` stands in for the token.
 * @param {string} path
 * @param {Asked} [options]
 */
export async function ask(path, { method = "GET", body, query, signal, headers = {}, key } = {}) {
  /** @type {Record<string, string>} */
  const sent = { Accept: "application/json", ...auth.headers(), ...headers };
  if (key) sent.Authorization = `Bearer ${key}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    const url = address(path, query);
    response = await fetch(url, { method, headers: sent, body: body && JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable("the server does not answer");
  }
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (response.status === 401 && !key) auth.expire();
  throw problem;
}

/**
 * Ask for a message.
 * @param {string} path
 * @param {Asked} [options]
 * @returns {Promise<any>}
 */
export async function request(path, options) {
  const response = await ask(path, options);
  return response.status === 204 ? null : response.json();
}

/** @param {string} id */
const session = (id) => `sessions/${encodeURIComponent(id)}`;

/** @type {(signal?: AbortSignal) => Promise<Wire.ModelInfo[]>} */
export const models = async (signal) => /** @type {Wire.Models} */ (await request("models", { signal })).models;
/** @type {(signal?: AbortSignal) => Promise<Wire.Status>} */
export const status = (signal) => request("status", { signal });
/** @type {(query: Query, signal?: AbortSignal) => Promise<Wire.Sessions>} */
export const sessions = (query, signal) => request("sessions", { query, signal });
/** @type {(id: string, signal?: AbortSignal) => Promise<Wire.Session>} */
export const one = (id, signal) => request(session(id), { signal });
/** @type {(body: Wire.CreateSession) => Promise<Wire.Session>} */
export const create = (body) => request("sessions", { method: "POST", body });
/** @type {(id: string) => Promise<null>} */
export const end = (id) => request(session(id), { method: "DELETE" });
/** @type {(id: string, body?: Wire.Branch) => Promise<Wire.Session>} */
export const fork = (id, body = {}) => request(`${session(id)}/fork`, { method: "POST", body });
/** @type {(id: string, signal?: AbortSignal) => Promise<Wire.Estimate>} */
export const estimate = (id, signal) => request(`${session(id)}/estimate`, { query: { with: "observation" }, signal });
/** @type {(id: string, body: Wire.ForecastRequest, signal?: AbortSignal) => Promise<Wire.Forecast>} */
export const forecast = (id, body, signal) => request(`${session(id)}/forecast`, { method: "POST", body, signal });

/**
 * Steps of a session's history; as many as the server gives at once where `limit` is more than that.
 * @param {string} id
 * @param {Query} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<Wire.History>}
 */
export async function history(id, query, signal) {
  const path = `${session(id)}/history`;
  try {
    return await request(path, { query, signal });
  } catch (error) {
    if (!(error instanceof Problem) || error.name !== "invalid-setting") throw error;
    return request(path, { query: { ...query, limit: null }, signal });
  }
}

/**
 * The id of a step in its session's history.
 * @param {number} epoch
 * @param {number} seq
 */
export const place = (epoch, seq) => `${epoch}-${seq}`;

/** @param {string} id */
export const eventsOf = (id) => `${session(id)}/events`;

/**
 * The address of a session's stream. Browsers cannot set headers there, so that the token stands in the address.
 * @param {string} id
 * @param {Query} [query]
 */
export function stream(id, query = {}) {
  const url = address(`${session(id)}/stream`, { ...query, token: auth.token() });
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}
