// Elements from code: the page has no templates and never parses markup, so that no text can become any.
// @ts-check

/**
 * An element. `on*` attributes are listeners, `class` and `text` are what they say, true and false set or leave out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = String(value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/**
 * Set the text of an element where it differs: an equal text must cost no layout.
 * @param {Element} element
 * @param {string} text
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Set an attribute where it differs; null takes it away.
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * A group of buttons of which one is pressed. `onpick` hears the value.
 * @param {string} label
 * @param {[value: string, text: string][]} options
 * @param {string} chosen
 * @param {(value: string) => void} onpick
 */
export function choice(label, options, chosen, onpick) {
  const group = h("div", { class: "choice", role: "group", "aria-label": label });
  const buttons = options.map(([value, text]) =>
    h("button", { type: "button", text, "aria-pressed": String(value === chosen), onclick: () => pick(value) }),
  );
  /** @param {string} value */
  function pick(value) {
    options.forEach(([one], i) => buttons[i].setAttribute("aria-pressed", String(one === value)));
    onpick(value);
  }
  group.append(...buttons);
  return group;
}

/**
 * A table from heads and rows of texts, with a caption for those who cannot see the chart beside it.
 * @param {string} caption
 * @param {string[]} heads
 * @param {string[][]} rows
 */
export function table(caption, heads, rows) {
  return h(
    "table",
    { class: "figures" },
    h("caption", { text: caption }),
    h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col", text })))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((text) => h("td", { text }))))),
  );
}

/**
 * Have the browser keep `blob` as a file.
 * @param {Blob | null} blob null where the browser could not make it
 * @param {string} name
 */
export function save(blob, name) {
  if (blob === null) return;
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Whether whoever looks has asked for less motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
