import { connect, mergeFields, newId } from "/tidemark.js";
import { each } from "./each.js"; // one element for each item, as a framework has it

const onConflict = ({ base, mine, theirs }) => mergeFields(base, mine, theirs);
const sync = connect({ url: "", space: "gallery-list", onConflict });
const items = sync.collection("items");
const [list, template, form, status] = document.querySelector("#app").children;

form.onsubmit = (event) => {
  event.preventDefault();
  items.put(newId(), { title: form.elements.title.value, done: false });
  form.reset();
};

const draw = each(list, template, (node, id) => {
  const [tick, title, remove] = node.querySelectorAll("input, span, button");
  tick.onchange = () => items.merge(id, { done: tick.checked });
  remove.onclick = () => items.delete(id);
  return ({ data, pending }) => {
    tick.checked = data.done;
    title.textContent = data.title;
    remove.ariaLabel = `Delete ${data.title}`;
    node.classList.toggle("pending", pending);
  };
});
items.subscribe(() => draw(items.getSnapshot()));

sync.status.subscribe(() => {
  const { error, pending } = sync.status;
  status.value = error?.message ?? (pending ? `${pending} to send` : "All sent");
});
