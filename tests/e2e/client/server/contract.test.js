import { contract } from "../contract.js";
import { newSpace, serverUrl } from "./server.js";

contract("real server", () => {
  const space = newSpace();
  const call = async (path, init) => (await fetch(`${serverUrl}/v1/spaces/${space}/${path}`, init)).json();
  const headers = { "Content-Type": "application/json" };
  return {
    push: (client_id, edits, more) => call("push", { method: "POST", headers, body: JSON.stringify({ client_id, edits, ...more }) }),
    pull: (cursor, more) => call(`changes?${new URLSearchParams({ ...(cursor && { cursor }), ...more })}`),
  };
});
