// Elements from code: the page has no templates and never parses markup, so that no text can become any.

/** An element. `on*` attributes are listeners, `class` and `text` are what they say, true and false set or leave out. */
export function h(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the text of an element where it differs: an equal text must cost no layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute where it differs; null takes it away. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A group of buttons of which one is pressed. `onpick` hears the value. */
export function choice(label, options, chosen, onpick) {
  const group = h("div", { class: "choice", role: "group", "aria-label": label });
  const buttons = options.map(([value, text]) =>
    h("button", { type: "button", text, "aria-pressed": String(value === chosen), onclick: () => pick(value) }),
  );
  function pick(value) {
    options.forEach(([one], i) => buttons[i].setAttribute("aria-pressed", String(one === value)));
    onpick(value);
  }
  group.append(...buttons);
  return group;
}

/** A table from heads and rows of texts, with a caption for those who cannot see the chart beside it. */
export function table(caption, heads, rows) {
  return h(
    "table",
    { class: "figures" },
    h("caption", { text: caption }),
    h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col", text })))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((text) => h("td", { text }))))),
  );
}

/** Have the browser keep `blob` as a file. */
export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Whether whoever looks has asked for less motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
