// Making something of the local cloud fail on purpose, to see what a failure looks like.

import { announce, get, post, state } from "./api.js";
import { add, field, h, heading, message, replace, table } from "./dom.js";

const EXAMPLES = ["job:preprocess", "job:train", "job:predict", "sagemaker:CreateTrainingJob", "sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint", "sagemaker:InvokeEndpoint", "function:check_endpoint", "task:ssm:putParameter", "event:train-model", "endpoint"];
const EFFECTS = {
  job: ["raise", "exit", "kill", "hang", "overrun", "no-capacity", "interrupt", "lose-output", "lose-metrics", "answer", "delay"], sagemaker: ["error", "delay"], task: ["error", "delay"],
  function: ["error", "timeout", "throttle", "delay"], event: ["error", "throttle"], endpoint: ["creation-fails", "update-rolls-back", "new-model-fails", "answers-wrongly", "delay"],
};
const NEEDS = { error: ["error", "ThrottlingException"], delay: ["seconds", "10"], exit: ["exit_code", "3"], answer: ["answer", "nan"] };

export async function faults({ place, again }) {
  const said = h("div", { role: "alert" }), listed = h("div");
  const target = h("input", { id: "target", list: "targets", value: "job:train", autocomplete: "off" }), effect = h("select", { id: "effect" });
  const value = h("input", { id: "value", autocomplete: "off" }), text = h("input", { id: "message", autocomplete: "off" }), times = h("input", { id: "times", value: "1", autocomplete: "off" });
  const valued = field("value", value);
  const choose = () => {
    const need = NEEDS[effect.value];
    valued.hidden = !need;
    if (need) [valued.firstChild.textContent, value.value] = need;
  };
  const offer = () => {
    const known = EFFECTS[target.value.split(":")[0]] || [];
    if ([...effect.options].map((one) => one.value).join() !== known.join()) effect.replaceChildren(...known.map((one) => h("option", { value: one }, one)));
    choose();
  };
  target.addEventListener("input", offer);
  effect.addEventListener("change", choose);
  const form = h("form", {}, h("datalist", { id: "targets" }, EXAMPLES.map((one) => h("option", { value: one }))), h("div", { class: "fields" },
    field("What fails", target), field("How", effect), valued, field("What it says", text), field("How often", times, "a number, or always")),
  h("button", { class: "first" }, "Let it fail"));
  add(place, heading("Faults"), h("p", { class: "faint" }, `Something of ${state.stack} fails on purpose, once unless more is asked for. A restart of the local cloud forgets them.`), form, said, listed);
  offer();
  const look = async () => {
    const { faults: known } = await get("faults");
    const clear = (one) => h("button", { type: "button", "data-key": `clear ${one.id}`, "aria-label": `Clear fault ${one.id}`, on: { click: () => act("faults/clear", { number: one.id }, `Fault ${one.id} is cleared`) } }, "Clear");
    replace(listed, known, h("h2", {}, "What will fail"), table("", [{ name: "number" }, { name: "what" }, { name: "how" }, { name: "struck" }, { name: "clear" }],
      known.map((one) => [String(one.id), `${one.operation} (${one.name})`, [one.effect, one.error, one.exit_code, one.seconds, one.answer, one.message].filter((each) => each !== undefined).join(", "), `${one.fired} of ${one.times}`, clear(one)]), "Nothing."));
  };
  const act = async (path, document, done) => {
    said.replaceChildren();
    try {
      await post(path, document);
      announce(done);
      await look();
    } catch (error) {
      said.replaceChildren(message(error.message, "bad"));
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const need = NEEDS[effect.value]?.[0], given = need && ["seconds", "exit_code"].includes(need) ? Number(value.value) : value.value;
    const often = /^\d+$/.test(times.value) ? Number(times.value) : times.value;
    act("faults", { operation: target.value.trim(), effect: effect.value, name: `${state.stack}*`, times: often, message: text.value, ...(need && { [need]: given }) }, "It will fail");
  });
  await look();
  again(look, () => 3000);
}
