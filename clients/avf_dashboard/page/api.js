// The server's public interface, as docs/protocol.md states it; nothing else is asked. Addresses are relative to the
// page, so that it works behind a path prefix.

import * as auth from "./auth.js";

const ROOT = new URL("v1/", document.baseURI);

/** A problem that the server answered. */
export class Problem extends Error {
  constructor(status, said) {
    super(said.detail || said.title || `the server answered ${status}`);
    this.status = status;
    this.name = (said.type || "").replace("urn:avf:problem:", "") || `status-${status}`;
  }
}

/** No answer: the server or the way to it is gone. */
export class Unreachable extends Error {}

/** The address of a route, with its query. */
export function address(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) url.searchParams.set(name, value);
  }
  return url;
}

/** Ask and give the response, or raise Problem or Unreachable. `key` stands in for the token. */
export async function ask(path, { method = "GET", body, query, signal, headers = {}, key } = {}) {
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

/** Ask for a message. */
export async function request(path, options) {
  const response = await ask(path, options);
  return response.status === 204 ? null : response.json();
}

const session = (id) => `sessions/${encodeURIComponent(id)}`;

export const models = async (signal) => (await request("models", { signal })).models;
export const status = (signal) => request("status", { signal });
export const sessions = (query, signal) => request("sessions", { query, signal });
export const one = (id, signal) => request(session(id), { signal });
export const create = (body) => request("sessions", { method: "POST", body });
export const end = (id) => request(session(id), { method: "DELETE" });
export const fork = (id, body = {}) => request(`${session(id)}/fork`, { method: "POST", body });
export const estimate = (id, signal) => request(`${session(id)}/estimate`, { query: { with: "observation" }, signal });
export const forecast = (id, body, signal) => request(`${session(id)}/forecast`, { method: "POST", body, signal });

/** Steps of a session's history; as many as the server gives at once where `limit` is more than that. */
export async function history(id, query, signal) {
  const path = `${session(id)}/history`;
  try {
    return await request(path, { query, signal });
  } catch (error) {
    if (error.name !== "invalid-setting") throw error;
    return request(path, { query: { ...query, limit: null }, signal });
  }
}

/** The id of a step in its session's history. */
export const place = (epoch, seq) => `${epoch}-${seq}`;

export const eventsOf = (id) => `${session(id)}/events`;

/** The address of a session's stream. Browsers cannot set headers there, so that the token stands in the address. */
export function stream(id, query = {}) {
  const url = address(`${session(id)}/stream`, { ...query, token: auth.token() });
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}
