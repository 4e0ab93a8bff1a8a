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

export async function send(file) {
  return ask("files", { name: file.name }, { method: "POST", body: file });
}

async function ask(path, query, options) {
  const words = new URLSearchParams({ ...(state.stack && { stack: state.stack }), ...query });
  let reply;
  try {
    reply = await fetch(`api/${path}?${words}`, { ...options, headers: { "x-perennial-token": localStorage.getItem(KEPT) || "" }, cache: "no-store" });
  } catch {
    throw new Error("The console does not answer: is `perennial console` still at work?");
  }
  const known = await reply.json().catch(() => ({ message: reply.statusText }));
  if (!reply.ok) throw new Error(known.message);
  return known;
}

export function announce(text) {
  const place = document.getElementById("status");
  if (place.textContent !== text) place.textContent = text;
}
