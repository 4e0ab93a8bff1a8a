// One run: its flow, drawn as it works, what each state did, took and cost, and how it ended.

import { announce, get, save, state } from "./api.js";
import { add, badge, button, counted, h, heading, message, number, pairs, replace, seconds, table, time, usd } from "./dom.js";
import { draw } from "./flow.js";

const ASKS = "Wait for approval";
const MOST_LOOKS = 60; // for the record, which is written after the end; a run without work has none

export async function run({ place, again, rest }) {
  const head = h("div"), figure = h("div"), detail = h("section", { class: "panel", "aria-label": "The chosen state" }), list = h("div"), ended = h("div"), measured = h("div");
  add(place, heading(`Run ${rest}`), head, ended, detail, figure, list, measured);
  const path = `runs/${encodeURIComponent(rest)}`;
  let flow = null, picture = null, chosen = null, record = null, said = "", looks = 0;

  const choose = (name) => {
    const one = flow.states.find((each) => each.name === name);
    chosen = name;
    show();
    announce(`${name}: ${[one.status, seconds(one.seconds), ...one.did, one.error].filter(Boolean).join(", ")}`);
  };
  const show = () => {
    const works = flow.states.findLast((each) => each.status === "Running"), failed = flow.states.find((each) => each.status === "Failed");
    const one = flow.states.find((each) => each.name === chosen) || works || failed || flow.states.at(-1);
    picture?.update(flow, one?.name);
    replace(detail, one, one ? described(one) : "");
    if (flow.status === "Running" && flow.states.some((each) => each.name === ASKS && each.status === "Running")) {
      replace(ended, ASKS, h("p", { class: "message doubt" }, "Its version waits for people: ", h("a", { href: "#/versions" }, "approve or reject it")));
    }
    replace(list, flow.states, h("h2", {}, "What each state did"), states(flow.states, choose));
    replace(head, [flow.status, flow.ended_at, flow.usd], pairs([
      ["status", badge(flow.status)], ["started", time(flow.started_at)], ["ended", time(flow.ended_at)],
      ["cost", cost(flow)],
    ]));
  };
  const look = async () => {
    if (!flow || flow.status === "Running") {
      flow = await get(`${path}/flow`);
      const works = flow.states.filter((one) => one.status === "Running").map((one) => one.name);
      const now = flow.status === "Running" ? `Working: ${works.join(", ") || "…"}` : `The run has ended: ${flow.status}`;
      if (now !== said) announce(said = now);
      if (!picture && flow.states.length) await paint();
      show();
    }
    if (flow.status !== "Running" && !record && looks < MOST_LOOKS) {
      looks += 1;
      const known = await get(path);
      record = known.record;
      if (record) flow.status = record.status; // as people read it: a candidate that was rejected is no failure
      show();
      replace(ended, known, outcome(known, flow));
      replace(measured, record, record ? made(record) : "");
    }
  };
  const paint = async () => {
    try {
      picture = draw(await get(`${path}/drawing`, innerWidth < 640 ? { narrow: 1 } : {}), choose);
      const shown = h("figure", { class: innerWidth < 640 ? "scrolls" : "scrolls whole", tabindex: "0", role: "region", "aria-label": "The flow, which scrolls" }, picture.picture);
      const size = h("button", { type: "button", "aria-pressed": String(!shown.classList.contains("whole")), on: { click: () => size.setAttribute("aria-pressed", String(!shown.classList.toggle("whole"))) } }, "Large");
      figure.replaceChildren(h("p", {}, size, h("span", { class: "faint" }, " From the state machine's own definition: green is done, blue is at work, red has failed. Choose a state to see what it did.")), shown);
    } catch (error) {
      figure.replaceChildren(message(`The flow cannot be drawn: ${error.message}`));
      picture = { update: () => {} };
    }
  };
  try {
    await look();
  } catch (error) {
    const known = await get(path);
    if (!known.record) throw error;
    record = known.record;
    add(ended, message(error.message), outcome(known, { status: record.status }));
    add(measured, made(record));
    detail.remove();
    return;
  }
  again(look, () => (state.isLocal ? 700 : 3000));
}

function described(one) {
  const retries = one.retries ? `${one.retries.times} times, after ${one.retries.errors.join(", ") || "an error"}` : "";
  return [
    h("h2", {}, one.name),
    pairs([["status", badge(one.status)], ["entered", time(one.entered_at)], ["took", seconds(one.seconds)], ["cost", usd(one.usd)], ["that is", arithmetic(one)], ["visits", one.visits > 1 ? String(one.visits) : ""], ["tried again", retries]]),
    one.did.length ? h("ul", {}, one.did.map((text) => h("li", {}, text))) : null,
    one.error ? message(`${one.error}\n${one.cause}`.trim(), "bad") : null,
    one.jobs.filter((job) => job.kind !== "HyperParameterTuning").map((job) => h("p", {}, h("a", { href: `#/logs?group=/aws/sagemaker/${job.kind}Jobs&streams=${encodeURIComponent(job.name)}` }, `Log of ${job.name}`))),
    one.did.filter((text) => text.startsWith("function ")).map((text) => h("p", {}, h("a", { href: `#/logs?group=${encodeURIComponent(`/aws/lambda/${state.stack}-${text.slice(9)}`)}` }, `Log of the ${text}`))),
  ];
}

// What a run has cost, and where that is from.
function cost(flow) {
  const unknown = unpriced(flow.states.flatMap((one) => one.billed));
  if (flow.usd === null && !unknown) return "";
  return `${flow.usd === null ? "not known" : usd(flow.usd)}: the billed seconds of its jobs at public prices of ${flow.region} (${flow.prices})${unknown ? `, without ${unknown}, whose price is not known` : ""}${state.isLocal ? "; nothing is billed here" : ""}`;
}

function unpriced(billed) {
  return [...new Set(billed.filter((one) => one.usd_an_hour === null).map((one) => one.machine))].join(", ");
}

// How the cost of a state comes about.
function arithmetic(one) {
  return one.billed.map((job) => `${number(job.seconds)} s of ${job.count} ${job.machine} at ${job.usd_an_hour === null ? "a price that is not known" : `${job.usd_an_hour} USD an hour`}`).join("; ");
}

function states(known, choose) {
  const columns = [{ name: "state" }, { name: "status" }, { name: "took", number: true }, { name: "cost", number: true }, { name: "did" }];
  return table("In the order in which the run came to them", columns, known.map((one) => [
    h("button", { type: "button", "data-key": one.name, on: { click: () => choose(one.name) } }, one.name), badge(one.status), seconds(one.seconds), usd(one.usd) || (one.jobs.length ? "not known yet" : "no job"),
    [one.did.join("; "), one.error ? h("span", { class: "bad" }, ` ${one.error}`) : ""],
  ]));
}

function outcome({ record, reason, doubts }, flow) {
  if (!record) return [flow.error ? message(`${flow.error}\n${flow.cause || ""}`.trim(), flow.status === "Succeeded" ? "" : "bad") : h("p", { class: "faint" }, "It left no record: there was nothing to do.")];
  const failure = record.failure;
  const kind = { Succeeded: "good", Failed: "bad", TimedOut: "bad", Aborted: "bad", Rejected: "doubt" }[record.status] || "";
  return [
    reason ? message(reason, kind) : null,
    failure ? h("details", {}, h("summary", {}, `${failure.error || "The error"}${failure.state ? ` in ${failure.state}` : ""}, as Step Functions has it`), h("pre", {}, failure.cause || "no cause was given")) : null,
    (doubts || []).map((text) => message(text, "doubt")),
    record.withheld ? message(`Withheld: ${record.withheld}`) : null,
  ].flat().filter(Boolean);
}

function made(record) {
  const gate = record.gate || {}, { candidate = {}, champion = {} } = record.metrics || {};
  return [
    h("h2", {}, "What it was made of, and measured"),
    pairs([
      ["version", record.version ? `${record.version.number} (${record.version.status})` : ""], ["threshold", gate.metric ? `${gate.metric} ${number(gate.threshold)}` : ""],
      ["rows", record.rows ? Object.entries(record.rows).map(([name, count]) => `${name} ${number(count)}`).join(", ") : ""],
      ["data", record.data ? `${counted(record.data.file_count, "file")}, ${counted(record.data.size_bytes, "byte")}` : ""], ["report", record.report ? button("Save the report", () => save("runs", record.run_id), { "data-key": "report" }) : ""],
    ]),
    Object.keys(candidate).length ? table("Metrics on the same test rows", [{ name: "metric" }, { name: "this model", number: true }, { name: "the one in service then", number: true }],
      Object.entries(candidate).map(([name, value]) => [name, number(value), number(champion?.[name])])) : null,
  ].flat().filter(Boolean);
}
