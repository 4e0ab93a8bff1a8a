// The metric of runs against the threshold and the model in service, over time. The table below it says the same.

import { counted, h, number, s } from "./dom.js";

const WIDEST = 1100, HEIGHT = 220, LEFT = 70, RIGHT = 12, TOP = 14, BOTTOM = 34;

export function chart(known, unit) {
  const width = Math.max(300, Math.min(WIDEST, document.getElementById("main").clientWidth));
  const judged = known.filter((one) => typeof one.gate?.candidate === "number").reverse();
  if (!judged.length) return h("p", { class: "faint" }, "No run has measured a model yet.");
  const metric = judged.at(-1).gate.metric;
  const points = judged.filter((one) => one.gate.metric === metric).map((one) => ({
    run: one.run_id, status: one.status, candidate: one.gate.candidate, threshold: one.gate.threshold, champion: one.metrics?.champion?.[metric],
  }));
  const values = points.flatMap((one) => [one.candidate, one.threshold, one.champion]).filter((one) => typeof one === "number");
  const low = Math.min(...values), high = Math.max(...values), room = (high - low) * 0.1 || Math.abs(high) * 0.1 || 1;
  const y = (value) => TOP + ((high + room - value) / (high - low + 2 * room)) * (HEIGHT - TOP - BOTTOM);
  const x = (place) => LEFT + ((place + 0.5) / points.length) * (width - LEFT - RIGHT);
  const line = (name, kind) => {
    const given = points.map((one, place) => [place, one[name]]).filter(([, value]) => typeof value === "number");
    const way = given.map(([place, value], first) => `${first ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    return [s("path", { class: kind, d: way }), name === "threshold" ? [] : given.map(([place, value]) =>
      s("circle", { class: `dot ${kind}`, cx: x(place), cy: y(value), r: 4.5 }, s("title", {}, `${points[place].run}: ${name} ${number(value)}`)))];
  };
  const marks = [low, (low + high) / 2, high].map((value) => [
    s("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
    s("text", { class: "small end", x: LEFT - 6, y: y(value) + 4 }, number(Number(value.toPrecision(4)))),
  ]);
  const last = points.at(-1);
  const said = `${metric} of ${counted(points.length, "run")}; the newest has ${number(last.candidate)}, the threshold is ${number(last.threshold)}`;
  return h("figure", { class: "scrolls" },
    s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": said, width },
      marks, line("threshold", "threshold"), line("champion", "champion"), line("candidate", "candidate"),
      s("text", { class: "small start", x: LEFT, y: HEIGHT - 8 }, moment(points[0].run)), s("text", { class: "small end", x: width - RIGHT, y: HEIGHT - 8 }, points.length > 1 ? moment(last.run) : "")),
    h("figcaption", {}, `${metric}${unit ? ` (${unit})` : ""}: `, h("span", { class: "busy" }, "● each run's model"), ", ", h("span", { class: "good" }, "● the one in service then"), ", ", h("span", { class: "bad" }, "╌ threshold")));
}

// The time in a run's id.
function moment(run) {
  return run.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d).*/, "$1-$2-$3 $4:$5");
}
