import * as Y from "/assets/yjs.js";
import { connect, newId } from "/tidemark.js";
import { bind } from "./textarea.js"; // editors have theirs: y-prosemirror, y-quill

const sync = connect({ url: "", space: "gallery-yjs", onConflict: () => "theirs" });
const updates = sync.collection("updates");
const [area, output] = document.querySelector("#app").children;

const toBase64 = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

const doc = new Y.Doc();
bind(Y, doc.getText("text"), area);
doc.on("update", async (update, origin) => {
  if (origin === sync) return; // it has come from there
  updates.put(newId(), { update: toBase64(update) });
  const all = updates.getSnapshot();
  if (all.length % 50) return; // else one that has everything takes their place, then
  const one = updates.put(newId(), { update: toBase64(Y.encodeStateAsUpdate(doc)) });
  if ((await one.settled).status === "applied") for (const { id } of all) updates.delete(id);
});

const taken = new Set();
updates.subscribe(() => {
  const all = updates.getSnapshot();
  const news = all.filter(({ id }) => !taken.has(id));
  doc.transact(() => {
    for (const { data } of news) Y.applyUpdate(doc, fromBase64(data.update));
  }, sync);
  for (const { id } of news) taken.add(id);
  output.value = `Characters: ${area.value.length}. Updates: ${all.length}.`;
});
