import { io } from "/assets/socket.io.js";
import { newId } from "/tidemark.js";
import { each } from "./each.js"; // one element for each item, as a framework has it

const space = "gallery-bridge";
const [form, output, list, template] = document.querySelector("#app").children;
let [crates, socket] = [new Map()];

form.onsubmit = (event) => {
  event.preventDefault();
  form.hidden = true;
  socket = io(form.elements.bridge.value);
  const tell = (reason) => { output.value = `Not connected: ${reason}`; };
  for (const trouble of ["disconnect", "connect_error"]) socket.on(trouble, tell);
  for (const reason of ["connect", "resync"]) socket.on(reason, join);
  socket.on("change", (crate) => show([...crates.values(), crate]));
};

async function join() {
  show(await socket.emitWithAck("join", space, "crates"));
  output.value = `Connected by ${socket.io.engine.transport.name}`;
}

function show(all) {
  crates = new Map(all.map((crate) => [crate.id, crate]));
  draw([...crates.values()].filter(({ data }) => data)); // none: it was deleted
}

const draw = each(list, template, (node, id) => {
  const [name, quay, move] = node.children;
  move.onclick = async () => {
    const { version, data } = crates.get(id);
    const edit = { edit_id: newId(), op: "patch", collection: "crates", id };
    edit.base_version = version;
    edit.data = { quay: data.quay === "North" ? "South" : "North" };
    const { status } = await socket.emitWithAck("push", space, edit);
    output.value = `${data.name}: ${status}`; // or conflict, if somebody else was first
  };
  return ({ data }) => [name.textContent, quay.textContent] = [data.name, data.quay];
});
