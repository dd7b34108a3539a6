// How a hand or a keyboard moves the window of a session's charts: drag, wheel and pinch, arrows, plus and minus.
// @ts-check

import { Ruler } from "./ruler.js";

const AXIS = 46; // pixels left of the charts' frame
/** @type {Record<string, (span: Span) => void>} */
const KEYS = {
  " ": (span) => (span.live ? span.pause() : span.follow()),
  ArrowLeft: (span) => span.move(-Math.max(1, span.width / 8)),
  ArrowRight: (span) => span.move(Math.max(1, span.width / 8)),
  "+": (span) => span.zoom(1 / 1.4),
  "=": (span) => span.zoom(1 / 1.4),
  "-": (span) => span.zoom(1.4),
  Home: (span) => span.oldest(),
  End: (span) => span.follow(),
};

/**
 * Whether an event came from an element like this, or from within one.
 * @param {Event} event
 * @param {string} selector
 */
const inside = (event, selector) => event.target instanceof Element && event.target.closest(selector) !== null;

/**
 * The keys of `span`, on an element that can have the focus; buttons within keep theirs.
 * @param {HTMLElement} element
 * @param {Span} span
 */
export function keyboard(element, span) {
  element.addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || inside(event, "button, a, input, select, .table-holder")) return;
    event.preventDefault();
    act(span);
  });
}

/**
 * Pointers on a canvas whose x axis is the window.
 * @param {HTMLCanvasElement} canvas
 * @param {Span} span
 */
export function pointers(canvas, span) {
  const down = new Map();
  const wide = () => canvas.clientWidth - AXIS - 10;
  const step = () => wide() / span.width;
  /** @param {MouseEvent} event */
  const position = (event) => new Ruler(span).position((event.offsetX - AXIS) / wide());
  /** @type {number | null} */
  let apart = null;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event.offsetX);
  });
  canvas.addEventListener("pointermove", (event) => {
    span.point(position(event));
    if (!down.has(event.pointerId)) return;
    const moved = event.offsetX - down.get(event.pointerId);
    if (down.size === 1 && Math.abs(moved) > 2) {
      span.move(-moved / step());
      down.set(event.pointerId, event.offsetX);
    } else if (down.size === 2) {
      down.set(event.pointerId, event.offsetX);
      const [a, b] = [...down.values()];
      if (apart !== null && Math.abs(a - b) > 20) span.zoom(apart / Math.abs(a - b), position(event));
      apart = Math.max(20, Math.abs(a - b));
    }
  });
  /** @param {PointerEvent} event */
  const up = (event) => {
    down.delete(event.pointerId);
    apart = null;
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => span.point(null));
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) span.move(event.deltaX / step());
      else if (event.ctrlKey || event.shiftKey) span.zoom(Math.exp(event.deltaY / 300), position(event));
      else return; // the page scrolls
      event.preventDefault();
    },
    { passive: false },
  );
}
