// Elements, and how values are shown. Texts become text nodes: nothing that comes from data is ever read as HTML.

export function h(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

export function s(tag, given = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), given, children);
}

function filled(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A drawing that the console has made: [tag, attributes, ...what is in it].
export function built([tag, given, ...inner]) {
  return s(tag, given, inner.map((one) => (typeof one === "string" ? one : built(one))));
}

export function heading(text) {
  document.title = `${text} - Perennial`;
  return h("h1", { tabindex: "-1" }, text);
}

export function message(text, kind = "") {
  return h("p", { class: `message ${kind}` }, text);
}

const numbers = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });

export function number(value) {
  return typeof value === "number" ? numbers.format(value) : "";
}

export function counted(count, name) {
  return `${number(count)} ${name}${count === 1 ? "" : "s"}`;
}

export function usd(value) {
  if (typeof value !== "number") return "";
  return `${value >= 1 ? value.toFixed(2) : Number(value.toPrecision(3))} USD`;
}

export function seconds(value) {
  return typeof value === "number" ? `${value.toLocaleString("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 })} s` : "";
}

export function time(text) {
  if (!text) return "";
  const moment = new Date(text);
  return h("time", { datetime: text }, Number.isNaN(moment.valueOf()) ? text : moment.toLocaleString("en-GB"));
}

const KINDS = {
  Succeeded: "good", Approved: "good", Healthy: "good", InService: "good",
  Running: "busy", AwaitsApproval: "doubt", PendingManualApproval: "doubt", Drift: "doubt", NotEnoughData: "doubt",
  Failed: "bad", TimedOut: "bad", Aborted: "bad", Rejected: "bad", NotApproved: "bad", BadData: "bad",
};

export function badge(status) {
  return h("span", { class: `badge ${KINDS[status] || ""}` }, status);
}

// A table: columns are {name, number}, rows lists of cells; the first cell is the row's heading.
export function table(caption, columns, rows, empty = "There is none yet.") {
  if (!rows.length) return h("p", { class: "faint" }, empty);
  const cell = (content, place) =>
    h(place ? "td" : "th", { scope: place ? null : "row", class: columns[place].number ? "number" : null, "data-name": columns[place].name }, content);
  return h("div", { class: "scrolls" }, h("table", { class: "stacks" },
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map((one) => h("th", { scope: "col", class: one.number ? "number" : null }, one.name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
  ));
}

export function pairs(rows) {
  const shown = rows.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return h("dl", {}, shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

// A control with its label, and what else to know of it.
export function field(text, control, hint = "") {
  const id = control.id || `field-${text}`;
  control.id = id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h("div", { class: "field" }, h("label", { for: id }, text), hint ? h("small", { id: `${id}-hint` }, hint) : null, control);
}

// A button that does something that may fail; what went wrong stands beside it.
export function button(text, act, given = {}) {
  const said = h("span", { role: "alert", class: "bad" });
  const element = h("button", { type: "button", ...given, on: { click: () => act().then(() => said.replaceChildren(), (error) => said.replaceChildren(` ${error.message}`)) } }, text);
  return h("span", {}, element, said);
}

// Adds to a place what is there: nothing of what is left out.
export function add(place, ...children) {
  return filled(place, {}, children);
}

// Puts new content in place of the old where it differs, and keeps the focus on what has the same data-key, or near it
// where that is gone or can do nothing any more.
export function replace(place, known, ...children) {
  const text = JSON.stringify(known);
  if (place.dataset.known === text) return false;
  place.dataset.known = text;
  const active = place.contains(document.activeElement) ? document.activeElement.closest("[data-key]") : null;
  place.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (!active) return true;
  [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === active.dataset.key)?.focus();
  if (!place.contains(document.activeElement)) {
    place.tabIndex = -1;
    place.focus({ preventScroll: true });
  }
  return true;
}
