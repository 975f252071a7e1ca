import { connect, newId } from "/tidemark.js";
import { each } from "./each.js"; // one element for each item, as a framework has it
import { me } from "./gallery.js";

const sync = connect({ url: "", space: "gallery-comments", onConflict: () => "mine" });
const comments = sync.collection("comments");
const [, list, template, form] = document.querySelector("#app").children;
const { text } = form.elements;
let under; // the comment that is replied to

form.onsubmit = (event) => {
  event.preventDefault();
  comments.put(newId(), { from: me.name, text: text.value, ...(under && { under }) });
  answer();
};

function answer(id) {
  under = id && (comments.get(id).data.under ?? id);
  form.reset();
  text.placeholder = id ? `Reply to ${comments.get(id).data.from}` : "";
  if (id) text.focus();
}

const draw = each(list, template, (node, id) => {
  const [from, time, words, reply, remove] = node.children;
  reply.onclick = () => answer(id);
  remove.onclick = () => comments.merge(id, { text: null }); // what stands under it stays
  return ({ data, updatedAt }) => {
    from.dataset.who = from.textContent = data.from;
    time.textContent = new Date(updatedAt ?? Date.now()).toTimeString().slice(0, 5);
    words.textContent = data.text ?? "Deleted.";
    node.className = `${data.under ? "reply" : ""} ${data.text ? "" : "gone"}`;
    remove.hidden = data.from !== me.name || !data.text;
  };
});

const place = ({ id, data }) => `${data.under ?? id} ${id}`;
const order = (a, b) => (place(a) < place(b) ? -1 : 1);
comments.subscribe(() => draw([...comments.getSnapshot()].sort(order)));
