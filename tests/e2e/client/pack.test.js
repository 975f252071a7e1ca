// The client as a package: what `npm pack` makes of api/web, in a project that knows nothing of this repository.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cell } from "../results.js";

const source = fileURLToPath(new URL("../../../api/web/", import.meta.url));
const typescript = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
const run = promisify(execFile);

let folder;
let packed;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidemark-pack-"));
  const npm = (...args) => run("npm", [...args, "--offline", "--no-audit", "--no-fund", `--cache=${join(folder, "cache")}`], { cwd: folder, timeout: 60_000 });
  const { stdout } = await npm("pack", source, "--json");
  [packed] = JSON.parse(stdout);
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await npm("install", join(folder, packed.filename));
});
after(() => rm(folder, { recursive: true, force: true }));

test("it holds the client, its types and its description, and needs nothing", async () => {
  assert.deepEqual(packed.files.map(({ path }) => path).sort(), ["dist/tidemark.js", "dist/tidemark.js.map", "package.json", "tidemark.d.ts"]);
  const description = JSON.parse(await readFile(join(folder, "node_modules/tidemark/package.json"), "utf8"));
  assert.deepEqual([description.name, description.type, description.sideEffects], ["tidemark", "module", false]);
  for (const kind of ["dependencies", "peerDependencies", "scripts"]) assert.equal(description[kind], undefined);
  for (const name of ["dist/tidemark.js", "dist/tidemark.js.map", "tidemark.d.ts"]) {
    assert.equal(await readFile(join(folder, "node_modules/tidemark", name), "utf8"), await readFile(join(source, name), "utf8"));
  }
});

cell("tidemark.js", "npm pack, in Node", "Node runs it: an edit goes out and comes back, and the process ends by itself", async () => {
  const app = `
    import { createServer } from "node:http";
    import { connect, newId } from "tidemark";
    const asked = [];
    const server = createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += chunk;
      asked.push(request.url.split("?")[0]);
      const { edits = [] } = text ? JSON.parse(text) : {};
      const results = edits.map(({ edit_id }) => ({ edit_id, status: "applied", version: 1 }));
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify({ changes: [], cursor: "c", version: edits.length, has_more: false, results }));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const sync = connect({ url: "http://127.0.0.1:" + server.address().port, space: "s", stream: false });
    const edit = sync.collection("todos").put(newId(), { title: "Milk" });
    const { status, version } = await edit.settled;
    await sync.close();
    server.close();
    console.log(JSON.stringify({ status, version, store: sync.status.store, pushed: asked.includes("/v1/spaces/s/push") }));
  `;
  await writeFile(join(folder, "app.js"), app);
  const { stdout } = await run(process.execPath, ["app.js"], { cwd: folder, timeout: 30_000 });
  assert.deepEqual(JSON.parse(stdout), { status: "applied", version: 1, store: "memory", pushed: true });
});

cell("tidemark.js", "npm pack, tsc --strict", "TypeScript finds the types, in strict mode, whatever way it looks for modules", async () => {
  const app = `
    import { connect, mergeFields, type Item, type Status } from "tidemark";
    type Todo = { title: string };
    const sync = connect({ url: "", space: "s" });
    const items: ReadonlyArray<Item<Todo>> = sync.collection<Todo>("todos").getSnapshot();
    const status: Status = sync.status.getSnapshot();
    export const shown: string[] = items.map(({ data }) => data.title);
    export const merged: Record<string, unknown> = mergeFields(null, { a: 1 }, null);
    export const waits: number | null = status.oldestPending;
    // @ts-expect-error not a field
    sync.collection<Todo>("todos").put("t1", { name: "Milk" });
  `;
  await writeFile(join(folder, "app.ts"), app);
  for (const [module, moduleResolution] of [["nodenext", "nodenext"], ["es2022", "bundler"]]) {
    const options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom", "--module", module, "--moduleResolution", moduleResolution];
    await run(process.execPath, [typescript, ...options, "app.ts"], { cwd: folder, timeout: 60_000 }).catch(({ stdout, message }) => assert.fail(`${moduleResolution}: ${stdout || message}`));
  }
});
