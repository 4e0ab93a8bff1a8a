// Versions of the model, with approve and reject as far as the person's role may.

import { announce, get, post, state } from "./api.js";
import { add, badge, field, h, heading, message, number, replace, table, time } from "./dom.js";

export async function versions({ place, again }) {
  const said = h("div", { role: "alert" }), listed = h("div");
  const reason = h("input", { id: "reason", autocomplete: "off", disabled: !state.mayChange });
  add(place, heading("Versions"), h("p", { class: "faint" }, "Each has passed the gate in a run. The newest approved one serves."),
    state.mayChange ? field("Why", reason, "A rejection needs it; the registry keeps it.") : message("Read-only: `perennial console --allow-changes` lets you answer here, as far as your role may."), said, listed);
  const answer = async (one, status) => {
    said.replaceChildren();
    if (status === "Rejected" && !reason.value.trim()) {
      said.replaceChildren(message(`Say why version ${one.number} is rejected.`, "bad"));
      reason.focus();
      return;
    }
    try {
      const known = await post(`versions/${one.number}`, { status, reason: reason.value.trim() });
      said.replaceChildren(message(`Version ${known.version}: ${known.status}, before ${known.before}. ${known.outcome}`, status === "Approved" ? "good" : "doubt"));
      announce(`Version ${known.version}: ${known.status}`);
      reason.value = "";
      await look();
    } catch (error) {
      said.replaceChildren(message(error.message, "bad"));
    }
  };
  const look = async () => {
    const known = await get("versions");
    const button = (one, status, text) => h("button", { type: "button", "data-key": `${text} ${one.number}`, "aria-label": `${text} version ${one.number}`, disabled: !state.mayChange || one.status === status, on: { click: () => answer(one, status) } }, text);
    const columns = [{ name: "version" }, { name: "status" }, { name: "serves" }, { name: "metric", number: true }, { name: "run" }, { name: "registered" }, { name: "answered by" }, { name: "answer" }];
    const rows = known.map((one) => [
      String(one.number), badge(one.status), one.serves ? "yes" : "", one.metric ? `${one.metric} ${number(one.candidate)}` : "",
      one.run ? h("a", { href: `#/runs/${one.run}`, "data-key": one.run }, one.run) : "by hand", time(one.created_at), one.by || "",
      h("span", { class: "actions" }, button(one, "Approved", "Approve"), button(one, "Rejected", "Reject")),
    ]);
    replace(listed, known, table("The newest first", columns, rows, "No run has passed the gate yet."));
  };
  await look();
  again(look, () => (state.isLocal ? 3000 : 15000));
}
