// A room for each space that somebody is in. To start it: npm install socket.io
//   curl -o tidemark.mjs http://127.0.0.1:8080/tidemark.js
//   curl -O http://127.0.0.1:8080/gallery/bridge.mjs && node bridge.mjs
import { Server } from "socket.io";
import { connect } from "./tidemark.mjs";

const [, , url = "http://127.0.0.1:8080", port = 3000] = process.argv;
const origin = [url, url.replace("127.0.0.1", "localhost")]; // whose pages may come
const io = new Server(Number(port), { cors: { origin } });
const rooms = new Map(); // space -> the client that follows it, by stream

function follow(space) {
  const sync = connect({ url, space, store: "memory" });
  const data = ({ collection, id }) => sync.collection(collection).get(id)?.data;
  const tell = (change) => io.to(space).emit("change", { ...change, data: data(change) });
  sync.on("remote", ({ changes }) => changes.forEach(tell));
  sync.on("resync", () => io.to(space).emit("resync")); // join again
  return sync;
}
const leave = (space) => rooms.get(space)?.close() && rooms.delete(space);
io.of("/").adapter.on("delete-room", leave); // when the last socket has left it
io.on("connection", (socket) => {
  socket.on("join", (space, collection, answer) => { // may this one? Ask that here
    const sync = rooms.get(space) ?? rooms.set(space, follow(space)).get(space);
    socket.join(space);
    const all = () => answer(sync.collection(collection).getSnapshot());
    sync.pull().then(all).catch(() => socket.conn.close()); // it comes back and asks again
  });
  socket.on("push", (space, edit, answer) => socket.rooms.has(space) &&
    fetch(`${url}/v1/spaces/${encodeURIComponent(space)}/push`, {
      method: "POST", headers: { "Content-Type": "application/json" }, // and a token
      body: JSON.stringify({ client_id: `io-${socket.id}`, edits: [edit] }),
    }).then((done) => done.json())
      .then((page) => answer(page.results?.[0] ?? page)).catch(console.error));
});
