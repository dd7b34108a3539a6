// Who is looking: a short-lived token of this tab. A key is exchanged for one, and kept only where that is asked for.
// @ts-check

const TOKEN = "avf.token";
const KEY = "avf.key";
const EARLY = 5; // seconds before its end at which a token is given up
/** @type {Set<(had: boolean) => void>} */
const listeners = new Set();

/** @returns {Pick<Wire.Token, "token" | "expires_at"> | null} */
function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(TOKEN) ?? "null");
  } catch {
    return null;
  }
}

/** The token to send, or null. One that has ended is dropped, and those who listen are told. */
export function token() {
  const found = kept();
  if (!found) return null;
  if (found.expires_at - EARLY > Date.now() / 1000) return found.token;
  expire();
  return null;
}

/**
 * Headers of a request: nothing without a token, for servers that want no key.
 * @returns {Record<string, string>}
 */
export function headers() {
  const found = token();
  return found ? { Authorization: `Bearer ${found}` } : {};
}

/**
 * Hear when a token has ended or was refused, or there is none where one is wanted.
 * @param {(had: boolean) => void} listener
 */
export function onExpired(listener) {
  listeners.add(listener);
}

/** The token is no longer any good. */
export function expire() {
  const had = kept() !== null;
  sessionStorage.removeItem(TOKEN);
  for (const listener of listeners) listener(had);
}

/**
 * Exchange a key for a token; `stay` keeps the key in this tab, to renew by.
 * @param {string} key
 * @param {{ stay?: boolean, request: Requests }} options
 */
export async function login(key, { stay = false, request }) {
  const made = await request("tokens", { method: "POST", body: {}, key });
  sessionStorage.setItem(TOKEN, JSON.stringify({ token: made.token, expires_at: made.expires_at }));
  if (stay) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  renewLater(made.expires_at, request);
}

/** Forget token and key. */
export function logout() {
  sessionStorage.removeItem(KEY);
  expire();
}

/** Whether there is a token in this tab. */
export const known = () => kept() !== null;

/**
 * Renew in time where the key is kept: a page that is left open stays open.
 * @param {Requests} request
 */
export function resume(request) {
  const found = kept();
  if (found) renewLater(found.expires_at, request);
}

/**
 * @param {number} until
 * @param {Requests} request
 */
function renewLater(until, request) {
  const key = sessionStorage.getItem(KEY);
  if (!key) return;
  const wait = Math.max(1, (until - Date.now() / 1000) * 0.8);
  setTimeout(() => {
    if (sessionStorage.getItem(KEY) === key) login(key, { stay: true, request }).catch(() => {});
  }, wait * 1000);
}
