// The page: which view stands at which address, and what is asked again while it is looked at.

import { announce, get, state, takeToken } from "./api.js";
import { h, heading, message } from "./dom.js";
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
  const [page, rest] = path.split("/").map(decoded);
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
    const name = document.querySelector("#pages [aria-current]")?.textContent || "This page";
    if (!signal.aborted) place.replaceChildren(...failed(`${name} cannot be shown`, error, show));
  }
  if (focus && !signal.aborted) (place.querySelector("h1") || main).focus({ preventScroll: true });
}

// A part of an address; as it is where it is no such part.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// What has failed, why, and what to do.
function failed(text, error, act) {
  return [heading(text), message(error.message, "bad"), h("p", {}, h("button", { type: "button", on: { click: () => act() } }, "Try again"))];
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
// A file that is dropped beside its place is not opened in place of the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
begin().catch((error) => {
  main.replaceChildren(...failed("The console cannot begin", error, () => location.reload()));
  main.querySelector("h1").focus();
});
