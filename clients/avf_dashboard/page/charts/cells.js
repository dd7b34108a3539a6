// Many small cells as one image: what piano rolls, spectrograms and heat maps are drawn with. The image has one pixel a
// cell and is enlarged by the browser, so that thousands of cells cost little.
// @ts-check

/** @type {Map<string, Colour>} */
const channels = new Map();

/**
 * What draws on a canvas that is never shown.
 * @param {OffscreenCanvas} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
function flat(canvas, settings) {
  const context = canvas.getContext("2d", settings);
  if (context === null) throw new Error("this browser draws on no canvas");
  return context;
}

/**
 * A colour of the style sheet as [red, green, blue].
 * @param {string} colour
 */
export function rgb(colour) {
  const known = channels.get(colour);
  if (known) return known;
  const context = flat(new OffscreenCanvas(1, 1), { willReadFrequently: true });
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  channels.set(colour, [red, green, blue]);
  return /** @type {Colour} */ ([red, green, blue]);
}

/** A grid of cells, kept between frames. */
export class Cells {
  #canvas = new OffscreenCanvas(1, 1);
  #image = new ImageData(1, 1);

  /**
   * Begin a grid of so many columns and rows, all clear.
   * @param {number} columns
   * @param {number} rows
   */
  begin(columns, rows) {
    if (this.#canvas.width !== columns || this.#canvas.height !== rows) {
      Object.assign(this.#canvas, { width: columns, height: rows });
      this.#image = new ImageData(columns, rows);
    } else {
      this.#image.data.fill(0);
    }
  }

  /**
   * Colour a cell; row 0 is at the bottom, `strength` is within 0 to 1.
   * @param {number} column
   * @param {number} row
   * @param {Colour} colour
   * @param {number} strength
   */
  set(column, row, [red, green, blue], strength) {
    const at = 4 * ((this.#image.height - 1 - row) * this.#image.width + column);
    const { data } = this.#image;
    data[at] = red;
    data[at + 1] = green;
    data[at + 2] = blue;
    data[at + 3] = 255 * Math.max(0, Math.min(1, strength));
  }

  /**
   * Draw the grid over a rectangle.
   * @param {Context} context
   * @param {number} x
   * @param {number} y
   * @param {number} width
   * @param {number} height
   * @param {{ smooth?: boolean }} [options]
   */
  draw(context, x, y, width, height, { smooth = false } = {}) {
    flat(this.#canvas).putImageData(this.#image, 0, 0);
    context.imageSmoothingEnabled = smooth;
    context.drawImage(this.#canvas, x, y, width, height);
  }

  /**
   * Draw the grid on a chart, a column a step, the first at position `from`; as high as from `top` to `bottom`.
   * @param {Context} context
   * @param {Plot} plot
   * @param {number} from
   * @param {number} top
   * @param {number} bottom
   */
  along(context, plot, from, top, bottom) {
    const { width, height } = this.#canvas;
    if (plot.ruler.even) {
      this.draw(context, plot.x(from), top, plot.x(from + width) - plot.x(from), bottom - top);
      return;
    }
    flat(this.#canvas).putImageData(this.#image, 0, 0);
    context.imageSmoothingEnabled = false;
    for (let at = 0; at < width; at++) {
      context.drawImage(this.#canvas, at, 0, 1, height, plot.x(from + at), top, plot.wide(from + at), bottom - top);
    }
  }
}
