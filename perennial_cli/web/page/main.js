// The page: which view stands at which address, and what is asked again while it is looked at.

import { announce, get, state, takeToken } from "./api.js";
import { h, message } from "./dom.js";
import { ask } from "./ask.js";
import { drift } from "./drift.js";
import { faults } from "./faults.js";
import { lineage } from "./lineage.js";
import { logs } from "./logs.js";
import { mails } from "./mails.js";
import { run } from "./run.js";
import { runs } from "./runs.js";
import { versions } from "./versions.js";

const PAGES = [
  ["", "Runs", runs], ["versions", "Versions", versions], ["ask", "Ask", ask], ["drift", "Drift", drift],
  ["lineage", "Lineage", lineage], ["mails", "Mails", mails], ["faults", "Faults", faults], ["logs", "Logs", logs],
];
const ONLY_LOCAL = ["mails", "faults"];
const main = document.getElementById("main");
let leave = new AbortController();

// Shows the view of the address. `again` asks for something now and then until the view is left.
async function show(focus = true) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [path, words] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, rest] = path.split("/").map(decodeURIComponent);
  const view = page === "runs" && rest ? run : PAGES.find(([name]) => name === page)?.[2] || runs;
  for (const link of document.querySelectorAll("#pages a")) {
    if (link.dataset.page === (page === "runs" ? "" : page)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = h("div", { class: "view" });
  main.replaceChildren(place);
  announce("");
  const again = (act, pause) => {
    const turn = async () => {
      if (signal.aborted) return;
      if (document.visibilityState === "visible") await act().catch((error) => announce(error.message));
      if (!signal.aborted) setTimeout(turn, pause());
    };
    setTimeout(turn, pause());
  };
  try {
    await view({ place, again, signal, rest, words: new URLSearchParams(words || "") });
  } catch (error) {
    if (!signal.aborted) place.append(message(error.message, "bad"));
  }
  if (focus && !signal.aborted) (place.querySelector("h1") || main).focus({ preventScroll: true });
}

async function begin() {
  takeToken();
  const known = await get("whom");
  Object.assign(state, { stack: known.stack || "", isLocal: known.is_local, mayChange: known.may_change });
  document.getElementById("whom").textContent = known.whom + (known.may_change ? "" : ", read-only");
  const select = document.getElementById("stack");
  select.replaceChildren(...known.stacks.map((name) => h("option", { value: name, selected: name === known.stack }, name)));
  select.addEventListener("change", () => {
    state.stack = select.value;
    show(false);
  });
  const pages = PAGES.filter(([name]) => known.is_local || !ONLY_LOCAL.includes(name));
  document.getElementById("pages").replaceChildren(...pages.map(([name, text]) => h("li", {}, h("a", { href: `#/${name}`, "data-page": name }, text))));
  if (!known.stacks.length) throw new Error("There is no stack of Perennial here; `perennial deploy MODEL` makes one.");
  addEventListener("hashchange", () => (location.hash.startsWith("#token=") ? location.reload() : show()));
  await show(false);
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
begin().catch((error) => main.replaceChildren(h("h1", {}, "Perennial"), message(error.message, "bad")));
