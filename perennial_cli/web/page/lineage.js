// From the endpoint that serves back to the data that its model was made of.

import { get } from "./api.js";
import { add, counted, h, heading, time } from "./dom.js";

const FILES = 50;

export async function lineage({ place }) {
  add(place, heading("Lineage"), h("p", { class: "faint" }, "From the endpoint that serves back to the data."));
  const chain = await get("lineage"), made = chain.run, data = made.data, algorithm = made.configuration?.algorithm;
  const files = data?.files || [];
  add(place, h("ul", { class: "tree" }, link("endpoint", `${chain.endpoint.name} (${chain.endpoint.status})`,
    link("configuration", chain.endpoint_config,
      link("model", chain.model, ...chain.artifacts.map((one) => link("artifact", one)),
        link("run", h("a", { href: `#/runs/${made.run_id}` }, `${made.run_id} (${made.status})`),
          link("started", time(made.execution.started_at)), made.gate ? link("gate", made.gate.reason) : null,
          algorithm ? link("trained", `${algorithm.name} (${Object.entries(algorithm.hyperparameters || {}).map(([name, value]) => `${name} ${value}`).join(", ")})`) : null,
          made.code ? link("code", `${made.code.hash} (commit ${made.code.commit})`) : null,
          data ? link("data", `${data.fingerprint.slice(0, 16)}: ${counted(data.file_count, "file")}, ${counted(data.size_bytes, "byte")}`,
            ...files.slice(0, FILES).map((one) => link("file", `s3://${data.bucket}/${one.Key}, version ${one.VersionId}`)), files.length > FILES ? link("", `and ${files.length - FILES} more`) : null) : null))))));
}

function link(name, value, ...below) {
  const inner = below.filter(Boolean);
  return h("li", {}, h("b", {}, name), " ", value, inner.length ? h("ul", {}, inner) : null);
}
