// Many small cells as one image: what piano rolls, spectrograms and heat maps are drawn with. The image has one pixel a
// cell and is enlarged by the browser, so that thousands of cells cost little.

const channels = new Map();

/** A colour of the style sheet as [red, green, blue]. */
export function rgb(colour) {
  if (!channels.has(colour)) {
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    channels.set(colour, [...context.getImageData(0, 0, 1, 1).data].slice(0, 3));
  }
  return channels.get(colour);
}

/** A grid of cells, kept between frames. */
export class Cells {
  #canvas = new OffscreenCanvas(1, 1);
  #image = null;

  /** Begin a grid of so many columns and rows, all clear. */
  begin(columns, rows) {
    if (this.#canvas.width !== columns || this.#canvas.height !== rows || this.#image === null) {
      Object.assign(this.#canvas, { width: columns, height: rows });
      this.#image = new ImageData(columns, rows);
    } else {
      this.#image.data.fill(0);
    }
  }

  /** Colour a cell; row 0 is at the bottom, `strength` is within 0 to 1. */
  set(column, row, [red, green, blue], strength) {
    const at = 4 * ((this.#image.height - 1 - row) * this.#image.width + column);
    const { data } = this.#image;
    data[at] = red;
    data[at + 1] = green;
    data[at + 2] = blue;
    data[at + 3] = 255 * Math.max(0, Math.min(1, strength));
  }

  /** Draw the grid over a rectangle. */
  draw(context, x, y, width, height, { smooth = false } = {}) {
    this.#canvas.getContext("2d").putImageData(this.#image, 0, 0);
    context.imageSmoothingEnabled = smooth;
    context.drawImage(this.#canvas, x, y, width, height);
  }
}
