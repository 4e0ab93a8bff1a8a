// Asking the endpoint: about a record by a form that the model's definition makes, or about series as lines of JSON.

import { announce, get, post, state } from "./api.js";
import { add, built, field, h, heading, message, number, table } from "./dom.js";

const MIDNIGHT = " 00:00:00";

export async function ask({ place }) {
  const [schema, about] = await Promise.all([get("record"), get("stack")]);
  const { inputs, document, show } = schema.series ? ofSeries(schema.series, about) : ofRecord(schema, about);
  const said = h("div", { role: "alert" }), answered = h("section", { "aria-label": "The answer", "aria-live": "polite" });
  const button = h("button", { class: "first", disabled: !state.mayChange }, "Ask");
  const form = h("form", { novalidate: true }, inputs, button);
  add(place, heading(`Ask for ${about.target}`), h("p", { class: "faint" }, about.serves ? `The model of run ${about.serves} answers${about.unit ? `, in ${about.unit}` : ""}.` : "No model is in service yet."),
    state.mayChange ? null : message("Read-only: `perennial console --allow-changes` lets you ask here; an endpoint of AWS keeps what it is asked."), form, said, answered);
  let isAsking = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isAsking) return; // a button that is disabled meanwhile would lose the focus
    isAsking = true;
    said.replaceChildren();
    announce("Asking…");
    try {
      const known = await post("predictions", document());
      for (const text of known.problems) said.append(message(text, "bad"));
      for (const text of known.notes || []) said.append(message(text, "doubt"));
      answered.replaceChildren();
      add(answered, show(known));
    } catch (error) {
      answered.replaceChildren();
      said.replaceChildren(message(error.message, "bad"));
    }
    announce("");
    isAsking = false;
  });
}

// ---- Records

function ofRecord(schema, about) {
  const example = { ...schema.examples[0], ...schema.usual };
  const fields = Object.entries(schema.properties).filter(([name]) => name in schema.examples[0]).map(([name, one]) => asked(name, one, example[name], schema.required.includes(name)));
  const record = () => Object.fromEntries(fields.map((one) => [one.name, one.value()]).filter(([, value]) => value !== null));
  return { inputs: h("div", { class: "fields" }, fields.map((one) => one.shown)), document: () => ({ record: record(), explain: true }), show: (known) => explained(known, about) };
}

function asked(name, one, example, required) {
  const types = [one.type].flat(), limits = [one.minimum, one.maximum].some((each) => each !== undefined) ? `${one.minimum ?? ""} to ${one.maximum ?? ""}` : "";
  const hint = [one.description, limits, required ? "" : "may be empty"].filter(Boolean).join(", ");
  const choices = one.enum ? one.enum.filter((each) => each !== null).map(String) : types.includes("boolean") ? ["true", "false"] : null;
  const isNumber = types.includes("number") || types.includes("integer");
  const input = choices
    ? h("select", { name }, required ? null : h("option", { value: "" }, ""), choices.map((each) => h("option", { value: each, selected: each === String(example) }, each)))
    : h("input", { name, value: String(example ?? ""), inputmode: isNumber ? "decimal" : null, autocomplete: "off" });
  const typed = (text) => {
    if (text === "") return null;
    if (types.includes("boolean")) return text === "true";
    return isNumber && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  return { name, value: () => typed(input.value.trim()), shown: field(name, input, hint) };
}

function explained(known, about) {
  if (known.problems.length) return null;
  const { explanation } = known, most = Math.max(...explanation.contributions.map((one) => Math.abs(one.contribution)), 1e-12);
  const bar = (value) => h("progress", { max: "100", value: String(Math.round((Math.abs(value) / most) * 100)), class: value < 0 ? "bad" : "good", "aria-hidden": "true" });
  const shares = [...explanation.contributions].sort((one, other) => Math.abs(other.contribution) - Math.abs(one.contribution)).map((one) => [
    one.feature, text(one.value) + (explanation.unknown_categories.includes(one.feature) ? " (unknown to the model)" : ""), text(one.typical), `${one.contribution > 0 ? "+" : ""}${number(one.contribution)}`, bar(one.contribution)]);
  return [
    message(known.headline, "good"), known.unusual ? message(`Unusual: ${known.unusual}`, "doubt") : null,
    shares.length ? null : h("p", { class: "faint" }, "This is the typical record itself: nothing differs."),
    table(`How the answer to a typical record becomes this one${about.unit ? `, in ${about.unit}` : ""}`, [{ name: "feature" }, { name: "this record" }, { name: "typical" }, { name: "adds", number: true }, { name: "share" }],
      [["a typical record", "", "", number(explanation.typical_score), ""], ...shares, ["this record", "", "", h("strong", {}, number(explanation.score)), ""]]),
    explanation.is_exact ? null : h("p", { class: "faint" }, "Means over orders of the features: their sum is exact, each share is an estimate."),
  ];
}

function text(value) {
  return typeof value === "number" ? number(value) : value === null ? "" : String(value);
}

// ---- Series

function ofSeries(known, about) {
  const parts = [`item_id, its name; start, ${known.begin}; target, its values, null where one is missing`, ...Object.entries(known.categories).map(([name, values]) => `in cat the ${name} (${values.join(", ")})`),
    ...known.dynamic.map((name) => `in dynamic_feat the ${name} of all these and the ${known.ahead} periods ahead`)];
  const lines = h("textarea", { id: "series", rows: "8", spellcheck: "false", autocomplete: "off" }, known.example);
  return {
    inputs: [
      field("Series", lines, `JSON, a line for each, at most ${known.most}, with ${parts.join("; ")}. The one to begin with is made up.`),
      h("p", { class: "faint" }, "A forecast is not explained by features: it rests on the values before it, and its band says how sure the model is."),
    ],
    document: () => ({ series: lines.value }),
    show: (answer) => answer.forecasts.map((one) => forecast(one, about)),
  };
}

function forecast(one, about) {
  const days = one.period.every((time) => time.endsWith(MIDNIGHT)), quantiles = ["p10", "p50", "p90"];
  return [
    h("h2", {}, one.item_id), h("figure", { class: "scrolls" }, built(one.drawing)),
    table(`${about.target}${about.unit ? `, in ${about.unit}` : ""}: four of five values should lie from p10 to p90`, [{ name: "period" }, { name: "p10", number: true }, { name: "median", number: true }, { name: "p90", number: true }],
      one.period.map((time, place) => [days ? time.replace(MIDNIGHT, "") : time, ...quantiles.map((name) => number(one[name][place]))])),
  ];
}
