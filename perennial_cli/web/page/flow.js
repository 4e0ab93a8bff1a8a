// The flow of a run, drawn from the state machine's own definition; the console has laid it out.

import { s, seconds, usd } from "./dom.js";

const LINE = 16, TITLE = 24, PADDING = 12, GAP_X = 22, TIP = 6;

export function draw(drawing, choose) {
  const shapes = new Map(), leads = new Map();
  const picture = s("svg", { viewBox: `-8 -8 ${drawing.width + 16} ${drawing.height + 16}`, width: drawing.width, role: "group", "aria-label": "The flow of the run" });
  part(picture, drawing, 0, 0, { shapes, leads, choose });
  return { picture, update: (flow, chosen) => update(shapes, leads, flow, chosen) };
}

function part(into, drawing, dx, dy, known) {
  for (const line of drawing.lines) into.append(lead(line, dx, dy, known.leads));
  for (const box of drawing.boxes) into.append(box.kind === "group" ? group(box, dx, dy, known) : state(box, dx, dy, known));
}

function lead(line, dx, dy, leads) {
  const points = line.points.map(([x, y]) => [x + dx, y + dy]), [x, y] = points.at(-1), [fx, fy] = points.at(-2);
  const [ux, uy] = Math.abs(x - fx) > Math.abs(y - fy) ? [Math.sign(x - fx), 0] : [0, Math.sign(y - fy)];
  const path = s("polyline", { class: `lead${line.error ? " error" : ""}`, points: points.map((one) => one.join(",")).join(" ") });
  const corners = [[x, y], [x - ux * TIP - uy * 4, y - uy * TIP - ux * 4], [x - ux * TIP + uy * 4, y - uy * TIP + ux * 4]];
  const tip = s("polygon", { class: "tip", points: corners.map((one) => one.join(",")).join(" ") });
  const key = `${line.source}→${line.target}`;
  leads.set(key, [...(leads.get(key) || []), path, tip]);
  return s("g", {}, path, tip, line.label ? s("text", { class: "label", x: x + 4, y: y - 16 }, line.label) : null);
}

function state(box, dx, dy, { shapes, choose }) {
  const x = box.x + dx, y = box.y + dy, half = box.width / 2, tall = box.height / 2;
  const corners = [[x - half, y], [x, y - tall], [x + half, y], [x, y + tall]].map((one) => one.join(",")).join(" ");
  const round = box.kind === "succeed" || box.kind === "fail" ? tall : 7;
  const shape = box.kind === "choice" ? s("polygon", { class: "shape", points: corners })
    : s("rect", { class: "shape", x: x - half, y: y - tall, width: box.width, height: box.height, rx: round });
  const first = y - ((box.lines.length - 1) * LINE) / 2 + 4.5;
  const element = s("g", { class: "state", "data-state": box.name, "aria-hidden": "true" }, s("title", {}, box.name), shape,
    box.lines.map((text, place) => s("text", { x, y: first + place * LINE }, text)));
  element.addEventListener("click", () => element.classList.contains("came") && choose(box.name));
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(box.name);
  });
  shapes.set(box.name, element);
  return element;
}

function group(box, dx, dy, known) {
  const left = box.x - box.width / 2 + dx, top = box.y - box.height / 2 + dy;
  const title = state({ ...box, kind: "task", lines: [box.name], y: box.y - box.height / 2 + TITLE / 2, height: TITLE - 4, width: Math.min(box.width - 4, box.name.length * 7.5 + 20) }, dx, dy, known);
  const inner = s("g", {}, s("rect", { class: "group", x: left, y: top, width: box.width, height: box.height, rx: 9 }), title);
  const spare = box.width - 2 * PADDING - box.inner.reduce((sum, one) => sum + one.width, 0) - GAP_X * (box.inner.length - 1);
  let x = left + PADDING + spare / 2;
  for (const drawing of box.inner) {
    part(inner, drawing, x, top + TITLE, known);
    x += drawing.width + GAP_X;
  }
  return inner;
}

function update(shapes, leads, flow, chosen) {
  for (const one of flow.states) {
    const element = shapes.get(one.name);
    if (!element) continue;
    element.setAttribute("class", `state came ${one.status}${one.name === chosen ? " chosen" : ""}`);
    element.setAttribute("tabindex", "0");
    element.setAttribute("role", "button");
    element.removeAttribute("aria-hidden");
    const said = `${one.name}: ${[one.status, seconds(one.seconds), usd(one.usd)].filter(Boolean).join(", ")}`;
    element.setAttribute("aria-label", said);
    element.querySelector("title").textContent = said;
  }
  for (const [from, to] of flow.ways) for (const element of leads.get(`${from}→${to}`) || []) element.classList.add("taken");
}
