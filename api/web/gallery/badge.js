import { newId } from "/tidemark.js";
import { me } from "./gallery.js";

const [list, output] = document.querySelector("#app").children;
const rows = [...list.children];
const query = new URLSearchParams(rows.map(({ dataset }) => ["space", dataset.space]));
let [heads, pace, tag] = [[], 1000];

async function look() {
  const headers = tag && { "If-None-Match": tag };
  const answer = await fetch(`/v1/heads?${query}`, { headers });
  if (answer.status !== 200) return; // 304: nothing moved
  tag = answer.headers.get("ETag");
  ({ heads, poll_after_ms: pace } = await answer.json());
  show();
}

function show() { // what I have looked at is kept by space, as the version that it had
  const news = heads.map(({ space, version }) => version !== +(localStorage[space] ?? 0));
  rows.forEach((row, i) => row.classList.toggle("news", news[i]));
  output.value = `News in ${news.filter(Boolean).length} of ${rows.length}`;
}

rows.forEach((row, i) => {
  const { space } = row.dataset;
  row.firstElementChild.onclick = () => { localStorage[space] = heads[i].version; show(); };
  const post = () => fetch(`/v1/spaces/${space}/documents/posts/${newId()}`, {
    method: "PUT",
    headers: { "Content-Type": "application/json", "If-None-Match": "*" }, // it is a new one
    body: JSON.stringify({ from: me.name }),
  });
  row.lastElementChild.onclick = () => post().then(look);
});

for (;;) {
  await look().catch(() => {}); // no answer: it is asked again
  await new Promise((resolve) => setTimeout(resolve, pace));
}
