import { connect, newId } from "/tidemark.js";
import { each } from "./each.js"; // one element for each item, as a framework has it
import { me } from "./gallery.js";

const date = () => new Date().toISOString().slice(0, 10);
const [space, day] = ["gallery-chat", date()];
const collections = ["days", day]; // which days there are, and what is said today
const sync = connect({ url: "", space, name: day, collections, onConflict: () => "theirs" });
const [days, talk] = collections.map((name) => sync.collection(name));
const [feed, template, form] = document.querySelector("#app").children;
const [button, list] = feed.firstElementChild.children;
const shown = [{ id: day }]; // what was fetched, and lines that begin a day

form.onsubmit = (event) => {
  event.preventDefault();
  if (!days.get(day)) days.put(day, {});
  talk.put(newId(), { from: me.name, text: form.elements.text.value, at: Date.now() });
  form.reset();
};

const draw = each(list, template, (node, id) => ({ data }) => {
  const [from, time, text] = node.children;
  from.dataset.who = from.textContent = data?.from ?? id;
  time.textContent = data ? new Date(data.at).toTimeString().slice(0, 5) : "";
  text.textContent = data?.text ?? "";
});
const earlier = () => days.getSnapshot().findLast(({ id }) => id < shown[0].id);
function show() {
  draw([...shown, ...talk.getSnapshot()]);
  button.hidden = !earlier();
}
for (const part of [days, talk]) part.subscribe(show);

button.onclick = async () => {
  const { id } = earlier();
  const answer = await fetch(`/v1/spaces/${space}/changes?collections=${id}&limit=1000`);
  shown.unshift({ id }, ...(await answer.json()).changes); // has_more: ask on by its cursor
  show();
};
setInterval(() => date() !== day && location.reload(), 60_000); // another day
