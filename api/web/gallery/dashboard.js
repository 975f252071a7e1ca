import { newId } from "/tidemark.js";
import { each } from "./each.js"; // one element for each item, as a framework has it
import { read, stations } from "./tides.js"; // stands for the gauges at sea

const space = "/v1/spaces/gallery-dashboard";
const [charts, template, label] = document.querySelector("#app").children;
const levels = new Map();

const source = new EventSource(`${space}/stream`); // it comes back by itself, where it was
source.addEventListener("changes", ({ data }) => {
  for (const change of JSON.parse(data).changes) levels.set(change.id, change);
  draw(stations.flatMap((id) => levels.get(id) ?? []));
});

const draw = each(charts, template, (node, id) => {
  const [name, now, line] = node.querySelectorAll("h2, b, polyline");
  name.textContent = id;
  return ({ data: { points } }) => {
    now.textContent = points.at(-1);
    line.setAttribute("points", points.map((y, x) => `${x},${-y}`).join(" "));
  };
});

setInterval(async () => {
  if (!label.control.checked) return;
  const edits = stations.map((id) => ({
    edit_id: newId(), op: "put", collection: "levels", id, force: true, // the last one wins
    data: { points: [...levels.get(id)?.data.points ?? [], read(id)].slice(-60) },
  }));
  await fetch(`${space}/push`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ client_id: "gauges", edits }),
  });
}, 1000);
