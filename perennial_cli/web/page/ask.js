// Asking the endpoint by a form that the model's definition makes; the answer is explained by what each feature adds.

import { announce, get, post, state } from "./api.js";
import { add, field, h, heading, message, number, table } from "./dom.js";

export async function ask({ place }) {
  const [schema, about] = await Promise.all([get("record"), get("stack")]);
  const example = { ...schema.examples[0], ...schema.usual }, said = h("div", { role: "alert" }), answered = h("section", { "aria-label": "The answer", "aria-live": "polite" });
  const fields = Object.entries(schema.properties).filter(([name]) => name in schema.examples[0]).map(([name, one]) => asked(name, one, example[name], schema.required.includes(name)));
  const button = h("button", { class: "first", disabled: !state.mayChange }, "Ask");
  const form = h("form", { novalidate: true }, h("div", { class: "fields" }, fields.map((one) => one.shown)), button);
  add(place, heading(`Ask for ${about.target}`), h("p", { class: "faint" }, about.serves ? `The model of run ${about.serves} answers${about.unit ? `, in ${about.unit}` : ""}.` : "No model is in service yet."),
    state.mayChange ? null : message("Read-only: `perennial console --allow-changes` lets you ask here; an endpoint of AWS keeps what it is asked."), form, said, answered);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.replaceChildren();
    button.disabled = true;
    announce("Asking, and asking about records between…");
    try {
      const record = Object.fromEntries(fields.map((one) => [one.name, one.value()]).filter(([, value]) => value !== null));
      show(await post("predictions", { record, explain: true }), said, answered, about);
    } catch (error) {
      answered.replaceChildren();
      said.replaceChildren(message(error.message, "bad"));
    }
    announce("");
    button.disabled = false;
  });
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

function show(known, said, answered, about) {
  answered.replaceChildren();
  for (const text of [...known.problems, ...known.notes]) said.append(message(text, known.problems.includes(text) ? "bad" : "doubt"));
  if (known.problems.length) return;
  const { explanation } = known, most = Math.max(...explanation.contributions.map((one) => Math.abs(one.contribution)), 1e-12);
  const bar = (value) => h("progress", { max: "100", value: String(Math.round((Math.abs(value) / most) * 100)), class: value < 0 ? "bad" : "good", "aria-hidden": "true" });
  add(answered, 
    message(known.headline, "good"), known.unusual ? message(`Unusual: ${known.unusual}`, "doubt") : "",
    table(`What each feature adds to the answer to a typical record${about.unit ? `, in ${about.unit}` : ""}`, [{ name: "feature" }, { name: "this record" }, { name: "typical" }, { name: "adds", number: true }, { name: "" }],
      [...explanation.contributions].sort((one, other) => Math.abs(other.contribution) - Math.abs(one.contribution)).map((one) => [
        one.feature, text(one.value) + (explanation.unknown_categories.includes(one.feature) ? " (unknown to the model)" : ""), text(one.typical), `${one.contribution > 0 ? "+" : ""}${number(one.contribution)}`, bar(one.contribution)]), "This is the typical record itself: nothing differs."),
    explanation.is_exact ? "" : h("p", { class: "faint" }, "Means over orders of the features: their sum is exact, each share is an estimate."));
}

function text(value) {
  return typeof value === "number" ? number(value) : value === null ? "" : String(value);
}
