// The mails that the stack's topics have sent, in the local cloud's mailbox.

import { get } from "./api.js";
import { add, h, heading, replace, time } from "./dom.js";

export async function mails({ place, again }) {
  const listed = h("div");
  add(place, heading("Mails"), h("p", { class: "faint" }, "All that was sent; nothing has left this machine."), listed);
  const look = async () => {
    const known = (await get("mails")).mails.reverse();
    const open = new Set([...listed.querySelectorAll("details[open]")].map((one) => one.dataset.number));
    replace(listed, known.map((one) => one.number), known.length ? known.map((one) => h("details", { "data-number": one.number, open: open.has(String(one.number)) },
      h("summary", { "data-key": `mail ${one.number}` }, h("strong", {}, one.subject), " ", h("span", { class: "faint" }, `to ${one.to}, `, time(one.received))), h("pre", {}, one.body))) : h("p", { class: "faint" }, "There is no mail yet."));
  };
  await look();
  again(look, () => 3000);
}
