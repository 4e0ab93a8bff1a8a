// Questions to the console. The token came behind the # of the address; it is sent in a header, which no other page can.

const KEPT = "perennial-token";

export const state = { stack: "", isLocal: false, mayChange: false, about: null };

export function takeToken() {
  const given = /^#token=([\w-]+)$/.exec(location.hash);
  if (!given) return;
  localStorage.setItem(KEPT, given[1]);
  history.replaceState(null, "", location.pathname + "#/");
}

export async function get(path, query = {}) {
  return ask(path, query, { method: "GET" });
}

export async function post(path, document, query = {}) {
  return ask(path, query, { method: "POST", body: JSON.stringify(document) });
}

// Saves a report as a file of the person's own: it opens there without a network, and not as a part of this page.
export async function save(folder, run) {
  const reply = await fetch(`api/${folder}/${encodeURIComponent(run)}/report?${new URLSearchParams({ stack: state.stack })}`, { headers: known(), cache: "no-store" });
  if (!reply.ok) throw new Error((await reply.json()).message);
  const link = document.createElement("a"), url = URL.createObjectURL(await reply.blob());
  Object.assign(link, { href: url, download: `report-${run}.html` });
  link.click();
  URL.revokeObjectURL(url);
}

function known() {
  return { "x-perennial-token": localStorage.getItem(KEPT) || "" };
}

export async function send(file) {
  return ask("files", { name: file.name }, { method: "POST", body: file });
}

async function ask(path, query, options) {
  const words = new URLSearchParams({ ...(state.stack && { stack: state.stack }), ...query });
  let reply;
  try {
    reply = await fetch(`api/${path}?${words}`, { ...options, headers: known(), cache: "no-store" });
  } catch {
    throw new Error("The console does not answer: is `perennial console` still at work?");
  }
  const answer = await reply.json().catch(() => ({ message: `${reply.status} ${reply.statusText}: where the console was started, or in the log of the local cloud, stands what happened.` }));
  if (!reply.ok) throw new Error(answer.message);
  return answer;
}

export function announce(text) {
  const place = document.getElementById("status");
  if (place.textContent !== text) place.textContent = text;
}
