import { contract } from "./contract.js";
import { FakeServer } from "./fakeserver.js";

contract("fake server", () => {
  const server = new FakeServer();
  const call = async (path, init) => (await server.fetch(`http://fake/v1/spaces/s/${path}`, init)).json();
  return {
    push: (client_id, edits, more) => call("push", { method: "POST", body: JSON.stringify({ client_id, edits, ...more }) }),
    pull: (cursor, more) => call(`changes?${new URLSearchParams({ ...(cursor && { cursor }), ...more })}`),
  };
});
