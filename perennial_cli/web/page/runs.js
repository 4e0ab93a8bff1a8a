// All runs: dropping a file, the metric over time, the list, and what the next ones will cost.

import { announce, get, send, state } from "./api.js";
import { chart } from "./chart.js";
import { add, badge, h, heading, message, number, pairs, replace, seconds, table, time, usd } from "./dom.js";

const AT_WORK = ["Running", "AwaitsApproval"];
const WAITS_SECONDS = 120;

export async function runs({ place, again, signal }) {
  const drawn = h("div"), listed = h("div"), cost = h("div"), about = await get("stack");
  add(place, heading(`Runs of ${about.name}`), h("p", { class: "faint" }, about.description || about.model), dropZone(about, signal), drawn, listed, cost);
  let isAtWork = false;
  const look = async () => {
    const known = await get("runs", { most: 30 });
    isAtWork = known.some((one) => AT_WORK.includes(one.status));
    replace(drawn, known, h("h2", {}, "The metric over time"), chart(known, about.unit));
    replace(listed, known, h("h2", {}, "All runs"), list(known));
  };
  await look();
  again(look, () => (isAtWork ? 2000 : 5000) * (state.isLocal ? 1 : 3));
  get("cost").then(costs, (error) => message(error.message, "bad")).then((shown) => cost.append(h("h2", {}, "What it costs"), shown));
}

function list(known) {
  const columns = [{ name: "run" }, { name: "status" }, { name: "metric", number: true }, { name: "threshold", number: true }, { name: "in service then", number: true }, { name: "took", number: true }, { name: "started" }, { name: "decision" }];
  const rows = known.map((one) => {
    const gate = one.gate || {}, champion = one.metrics?.champion?.[gate.metric];
    return [
      h("a", { href: `#/runs/${one.run_id}`, "data-key": one.run_id }, one.run_id), badge(one.status),
      gate.metric ? `${gate.metric} ${number(gate.candidate)}` : "", number(gate.threshold), number(champion),
      seconds(one.execution?.duration_seconds), time(one.execution?.started_at), one.status === "AwaitsApproval" ? h("a", { href: "#/versions", "data-key": `answer ${one.run_id}` }, `Version ${one.version.number} waits for an answer`) : short(one.decision),
    ];
  });
  return table("The newest first", columns, rows, "It has not run yet: drop a file.");
}

function short(text) {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function costs(known) {
  const rests = known.runs ? `from ${known.runs} earlier runs` : "assumed: 4 minutes a job";
  return pairs([
    ["a run", `${usd(known.run.usd)} (${known.run.jobs} jobs, ${rests})`],
    ["the endpoint", known.endpoint === null ? "its price is not known" : `${usd(known.endpoint)} an hour`],
    ["a month", `${usd(known.month)} (${number(known.runs_a_month)} runs)`],
    ["", h("span", { class: "faint" }, state.isLocal ? "At public prices of AWS; nothing is billed here." : "At public prices.")],
  ]);
}

function dropZone(about, signal) {
  if (!state.mayChange) return message(`Read-only: files are dropped at ${about.drops}, or here after perennial console --allow-changes`);
  const said = h("p", { role: "alert" });
  const input = h("input", { type: "file", id: "file", on: { change: () => input.files[0] && take(input.files[0]) } });
  const zone = h("div", { class: "drop" }, h("label", { for: "file" }, "Drop a data file here, or choose one"), input, h("span", { class: "faint" }, `It goes to ${about.drops}`), said);
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  const take = async (file) => {
    said.textContent = "";
    input.disabled = true;
    try {
      announce(`Sending ${file.name}…`);
      const put = await send(file);
      announce(`${file.name} is dropped; waiting for the run that it starts…`);
      await follow(put.version, file.name, signal);
    } catch (error) {
      announce("");
      said.replaceChildren(message(error.message, "bad"));
    } finally {
      input.disabled = false;
      input.value = "";
    }
  };
  return zone;
}

// Goes to the run that a drop has started, once it is there.
async function follow(version, name, signal) {
  for (const until = Date.now() + WAITS_SECONDS * 1000; Date.now() < until && !signal.aborted; ) {
    const { run } = await get(`dropped/${encodeURIComponent(version || "null")}`);
    if (run && !signal.aborted) {
      location.hash = `#/runs/${run}`;
      return;
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
  if (!signal.aborted) throw new Error(`Nothing began within ${WAITS_SECONDS} s of the drop of ${name}; see the queue of undelivered events.`);
}
