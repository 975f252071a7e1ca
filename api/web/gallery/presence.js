import { connect } from "/tidemark.js";
import { each } from "./each.js"; // one element for each item, as a framework has it
import { me } from "./gallery.js";

const sync = connect({ url: "", space: "gallery-presence", store: "memory" });
const [here, person, sea, cursor] = document.querySelector("#app").children;

const say = (place) => sync.presence.set({ name: me.name, ...place });
say();
sea.onpointermove = ({ clientX, clientY }) => {
  const { left, top, width, height } = sea.getBoundingClientRect();
  say({ x: (clientX - left) / width, y: (clientY - top) / height });
};
sea.onpointerleave = () => say();

const drawPeople = each(here, person, (node) => ({ state }) => {
  node.dataset.who = node.textContent = state.name;
});
const drawCursors = each(sea, cursor, (node) => ({ state: { name, x, y } }) => {
  node.dataset.who = node.textContent = name;
  node.style.left = `${100 * x}%`;
  node.style.top = `${100 * y}%`;
});
sync.presence.subscribe(() => {
  const everybody = sync.presence.getSnapshot().map((who) => ({ ...who, id: who.clientId }));
  drawPeople(everybody);
  drawCursors(everybody.filter(({ id, state }) => id !== sync.clientId && "x" in state));
});
