// Windows of requests that the monitor has judged: the distance of each feature from its baseline, over windows.

import { get, save, state } from "./api.js";
import { add, badge, button, h, heading, message, number, replace, table, time } from "./dom.js";

export async function drift({ place, again }) {
  const about = await get("stack"), drawn = h("div"), listed = h("div");
  add(place, heading("Drift"), h("p", { class: "faint" }, `How far each feature of a window lies from what the model was trained on: 0 is alike, 1 is all other. ${number(about.drift.distance)} and more matters, where it is larger than chance.`), drawn, listed);
  const look = async () => {
    const known = await get("windows");
    replace(drawn, known, features(known, about.drift));
    replace(listed, known, h("h2", {}, "Windows"), windows(known));
  };
  await look();
  again(look, () => (state.isLocal ? 5000 : 60000));
}

function features(known, limits) {
  const judged = known.filter((one) => columns(one).length).slice(0, 12).reverse();
  if (!judged.length) return message("The monitor has judged no window yet: it needs requests, and is on with the parameter Monitoring.");
  const names = [...new Set(judged.flatMap((one) => columns(one).map((each) => each.name)))];
  const rows = names.map((name) => [name, ...judged.map((one) => cell(one, name, limits))]);
  return table("The largest distance by feature, the oldest window first", [{ name: "feature" }, ...judged.map((one) => ({ name: one.window?.start?.slice(5, 16).replace("T", " ") || one.id, number: true }))], rows);
}

function columns(one) {
  return Object.values(one.analyses || {}).flatMap((analysis) => analysis.columns || []).filter((each) => each.name);
}

function cell(one, name, limits) {
  const column = columns(one).find((each) => each.name === name), distance = column?.distance;
  if (!distance) return h("span", { class: "faint", title: column?.why || "" }, "–");
  const found = Object.values(one.analyses).flatMap((analysis) => analysis.findings || []).filter((each) => each.subject === name && each.kind !== "note");
  const text = number(Number(distance.largest.toPrecision(2)));
  if (found.length) return h("strong", { class: "bad", title: found.map((each) => each.text).join("\n") }, `${text} ${found[0].kind === "drift" ? "drifted" : "bad data"}`);
  return h("span", { class: distance.largest > limits.distance || distance.psi > limits.stability ? "doubt" : "" }, text);
}

function windows(known) {
  const names = [{ name: "window" }, { name: "verdict" }, { name: "from" }, { name: "to" }, { name: "records", number: true }, { name: "labels", number: true }, { name: "reasons" }, { name: "report" }];
  return table("The newest first", names, known.map((one) => [
    one.id, badge(one.verdict), time(one.window?.start), time(one.window?.end), number(one.records ?? 0), number(one.ground_truth?.matched ?? 0),
    h("ul", {}, (one.reasons || []).slice(0, 5).map((text) => h("li", {}, text))),
    button("Save", () => save("windows", one.id), { "aria-label": `Save the report of window ${one.id}`, "data-key": one.id })]), "None.");
}
