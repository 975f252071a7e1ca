import { connect, newId } from "/tidemark.js";
import { each } from "./each.js"; // one element for each item, as a framework has it

const sync = connect({ url: "", space: "gallery-cron" });
const [, reports, , notes, template, form] = document.querySelector("#app").children;

for (const list of [reports, notes]) {
  const items = sync.collection(list === reports ? "reports" : "notes");
  const draw = each(list, template, (node, id) => ({ data, updatedAt }) => {
    const [text, time] = node.children;
    text.textContent = data.text ?? `${id}: ${data.free_kb} kB free`;
    time.textContent = new Date(updatedAt ?? Date.now()).toTimeString().slice(0, 8);
  });
  items.subscribe(() => draw(items.getSnapshot()));
}

form.onsubmit = (event) => {
  event.preventDefault();
  sync.collection("notes").put(newId(), { text: form.elements.text.value });
  form.reset();
};
