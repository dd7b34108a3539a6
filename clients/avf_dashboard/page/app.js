// The page: which view is shown for an address, the theme, who is looking, and what outlives a view.
// @ts-check

import * as api from "./api.js";
import * as auth from "./auth.js";
import { mark, write } from "./dom.js";
import { repaint, surfaces } from "./charts/surface.js";
import { Running } from "./running.js";
import { Login } from "./views/login.js";
import { Overview } from "./views/overview.js";

/**
 * An element of index.html.
 * @param {string} id
 */
function part(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no #${id}`);
  return found;
}

const STATES = { live: "live", lost: "reconnecting", gone: "ended", connecting: "connecting", paused: "paused" };
const THEMES = ["auto", "light", "dark"];
const main = part("main");
const connection = part("connection");
const signOut = part("sign-out");

/**
 * What views share: models by name, traces that outlive their view, streams of this page, the state of the connection.
 * @type {Shared}
 */
const shared = {
  traces: new Map(), // of sessions that were looked at, so that one that has ended stays readable
  running: new Running(part("running")),
  models: null,

  /** The models of the server, asked for once. */
  async model(name) {
    if (!this.models?.has(name)) this.models = new Map((await api.models()).map((model) => [model.name, model]));
    return this.models?.get(name);
  },

  /** Show how the connection is. */
  state(name) {
    mark(connection, "data-state", name);
    write(connection, STATES[name]);
  },
};

/** @type {View | null} */
let view = null;

/**
 * The view of an address. Those that the first look seldom needs are fetched when they are wanted.
 * @param {string} address
 */
async function make(address) {
  const [, name, id] = address.replace(/^#/, "").split("/");
  if (name === "session" && id) {
    const { SessionView } = await import("./views/session.js");
    return new SessionView(shared, decodeURIComponent(id));
  }
  if (name === "try") {
    const { Try } = await import("./views/try.js");
    return new Try(shared);
  }
  return new Overview(shared);
}

/** @param {View} next */
function show(next) {
  view?.close();
  view = next;
  main.replaceChildren(next.root);
  document.title = next.title ? `${next.title} · avf` : "avf";
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("nav a"))) {
    mark(link, "aria-current", link.dataset.view === next.name ? "page" : null);
  }
  signOut.hidden = !auth.known();
  next.open?.();
}

/** @param {{ focus?: boolean }} [options] */
async function navigate({ focus = true } = {}) {
  if (wantsLogin()) return login();
  const address = location.hash;
  const next = await make(address);
  if (location.hash !== address) return; // whoever looks has gone on meanwhile
  show(next);
  if (focus) main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** The server says in its page whether it wants keys, so that the first thing asked is not refused. */
const wantsLogin = () => document.documentElement.dataset.login === "required" && auth.token() === null;

/** @param {boolean} [expired] */
function login(expired = false) {
  if (view instanceof Login) return;
  shared.state("paused");
  show(new Login({ expired, onDone: () => navigate() }));
}

function themed() {
  let chosen = "auto";
  const button = part("theme");
  try {
    chosen = localStorage.getItem("avf.theme") ?? "auto";
  } catch {
    // A browser that keeps nothing shows the theme of the system.
  }
  const apply = () => {
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    write(button, `Theme: ${chosen}`);
    repaint(surfaces);
    view?.repaint?.();
  };
  button.addEventListener("click", () => {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    localStorage.setItem("avf.theme", chosen);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}

auth.onExpired((had) => login(had));
signOut.addEventListener("click", () => {
  shared.running.stop();
  auth.logout();
});
part("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => navigate());
themed();
auth.resume(api.request);
await navigate({ focus: false });
for (const name of ["session", "try"]) import(`./views/${name}.js`); // for the next look, now that the first is there
