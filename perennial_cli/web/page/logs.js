// What functions, jobs, executions and the endpoint have logged in the last day.

import { get, state } from "./api.js";
import { add, field, h, heading, replace } from "./dom.js";

export async function logs({ place, again, words }) {
  const group = words.get("group"), streams = words.get("streams") || "", first = await get("logs").catch((error) => {
    if (group) return { groups: [group] }; // who may read one need not be who may list them
    throw error;
  });
  const select = h("select", { id: "group" }, h("option", { value: "" }, "choose one"), first.groups.map((name) => h("option", { value: name, selected: name === group }, name)));
  select.addEventListener("change", () => (location.hash = `#/logs?group=${encodeURIComponent(select.value)}`));
  const lines = h("pre", { class: "log", tabindex: "0", "aria-label": "Lines of the log" }), note = h("p", { class: "faint" });
  add(place, heading("Logs"), field("Log group", select), streams ? h("p", {}, `Of ${streams} `, h("a", { href: `#/logs?group=${encodeURIComponent(group)}` }, "(show all)")) : "", note, group ? lines : "");
  if (!group) return;
  const look = async () => {
    const { events } = await get("logs", { group, streams });
    note.textContent = events.length ? `The newest lines of the last day (${events.length}), the oldest first.` : "Nothing was logged in the last day.";
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 20;
    if (replace(lines, events, events.map((one) => `${one.time.slice(11, 23)} ${one.message.trimEnd()}\n`)) && atEnd) lines.scrollTop = lines.scrollHeight;
  };
  await look();
  again(look, () => (state.isLocal ? 2000 : 10000));
}
