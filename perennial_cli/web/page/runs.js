// All runs: dropping a file, the metric over time, the list, and what the next ones will cost.

import { announce, get, send, state } from "./api.js";
import { chart } from "./chart.js";
import { add, badge, counted, h, heading, message, number, pairs, replace, seconds, table, time, usd } from "./dom.js";

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
  const rests = known.runs ? `from ${counted(known.runs, "earlier run")}` : "assumed: 4 minutes a job";
  return pairs([
    ["a run", `${usd(known.run.usd)} (${counted(known.run.jobs, "job")}, ${rests})`],
    ["the endpoint", known.endpoint === null ? "its price is not known" : `${usd(known.endpoint)} an hour`],
    ["a month", `${usd(known.month)} (${counted(known.runs_a_month, "run")})`],
    ["", h("span", { class: "faint" }, state.isLocal ? "At public prices of AWS; nothing is billed here." : "At public prices.")],
  ]);
}

function dropZone(about, signal) {
  if (!state.mayChange) return message(`Read-only: files are dropped at ${about.drops}, or here after perennial console --allow-changes`);
  const said = h("div", { role: "alert" });
  const input = h("input", { type: "file", id: "file", multiple: true, on: { change: () => take([...input.files]) } });
  const zone = h("div", { class: "drop" }, h("label", { for: "file" }, "Drop data files here, or choose some"), input, h("span", { class: "faint" }, `They go to ${about.drops}`), said);
  for (const kind of ["dragover", "dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.toggle("over", kind === "dragover"));
  zone.addEventListener("drop", ({ dataTransfer }) => take([...dataTransfer.items].filter((one) => one.kind === "file").map(dropped)));
  let isAtIt = false;
  const take = async (files) => {
    if (!files.length || isAtIt) return;
    said.replaceChildren();
    isAtIt = true;
    try {
      const folder = files.find((one) => one.isFolder);
      if (folder) throw new Error(`${folder.name} is a folder; drop the files in it.`);
      let put = null;
      for (const file of files) {
        announce(`Sending ${file.name}…`);
        put = await send(file);
      }
      const names = files.map((one) => one.name).join(", ");
      announce(`Dropped: ${names}; waiting for the run that begins…`);
      await follow(put.version, names, signal);
    } catch (error) {
      announce("");
      said.replaceChildren(message(error.message, "bad"));
    } finally {
      isAtIt = false;
      input.value = "";
    }
  };
  return zone;
}

// What is dropped: a file, or a folder, which cannot be sent.
function dropped(item) {
  const file = item.getAsFile();
  return item.webkitGetAsEntry()?.isDirectory ? { name: file.name, isFolder: true } : file;
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
