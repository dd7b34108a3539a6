// Canvases that are drawn only where something has changed, all within one frame of the browser, in the colours of the
// style sheet and the pixels of the screen.
// @ts-check

/** @type {Set<Surface>} */
const waiting = new Set();
let requested = false;

/** How many frames were drawn so far; benchmarks read it. */
export const drawn = { frames: 0 };

function frame() {
  requested = false;
  const now = [...waiting];
  waiting.clear();
  drawn.frames++;
  for (const surface of now) surface.paint();
}

/** @param {Surface} surface */
function request(surface) {
  waiting.add(surface);
  if (!requested) {
    requested = true;
    requestAnimationFrame(frame);
  }
}

const NAMES = /** @type {const} */ ([
  "paper", "ink", "soft", "faint", "line", "accent", "accent_soft", "accent_faint", "alert", "warm", "band",
]);
/** @typedef {Record<typeof NAMES[number] | "font", string>} Palette */
/** @type {Palette | null} */
let palette = null;

/** The colours of the theme in use, by name. */
export function colours() {
  if (palette !== null) return palette;
  const style = getComputedStyle(document.documentElement);
  const read = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  const named = Object.fromEntries(NAMES.map((name) => [name, read(name.replace("_", "-"))]));
  palette = /** @type {Palette} */ ({ ...named, font: read("chart-font") });
  return palette;
}

/**
 * The theme has changed.
 * @param {Iterable<Surface>} surfaces
 */
export function repaint(surfaces) {
  palette = null;
  for (const surface of surfaces) surface.invalidate();
}

/** All surfaces of the page. */
export const surfaces = /** @type {Set<Surface>} */ (new Set());

/**
 * What draws on a canvas.
 * @param {HTMLCanvasElement} canvas
 */
export function pen(canvas) {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser draws on no canvas");
  return context;
}

/** A canvas and the function that draws it: `draw(context, width, height)`, in CSS pixels; true asks for another. */
export class Surface {
  #draw;
  #observer;
  #visible;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Draw} draw
   */
  constructor(canvas, draw) {
    this.canvas = canvas;
    this.#draw = draw;
    this.seen = true;
    this.#observer = new ResizeObserver(() => this.invalidate());
    this.#observer.observe(canvas);
    this.#visible = new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      if (this.seen) this.invalidate();
    });
    this.#visible.observe(canvas);
    surfaces.add(this);
  }

  /** Draw it in the next frame, if it can be seen. */
  invalidate() {
    if (this.seen) request(this);
  }

  /** Draw it now. */
  paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const scale = Math.min(3, devicePixelRatio || 1);
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    const context = pen(this.canvas);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = colours().font;
    context.lineJoin = "round";
    if (this.#draw(context, width, height)) request(this);
  }

  /** Let go of it. */
  close() {
    this.#observer.disconnect();
    this.#visible.disconnect();
    waiting.delete(this);
    surfaces.delete(this);
  }
}
