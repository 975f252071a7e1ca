import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { minify } from "terser";
import * as client from "../../../api/web/tidemark.js";

const path = fileURLToPath(new URL("../../../api/web/tidemark.js", import.meta.url));

test("under 12 kB as an app ships it, minified and gzipped", async () => {
  const { code } = await minify(readFileSync(path, "utf8"), { module: true });
  const size = gzipSync(code, { level: 9 }).length;
  assert.ok(size < 12_000, `${size} bytes`);
});

test("no dependency, no build step", () => {
  assert.doesNotMatch(readFileSync(path, "utf8"), /^\s*import\s|\bimport\(|\brequire\(/m);
});

test("the types name what the module exports", () => {
  const types = readFileSync(path.replace(/\.js$/, ".d.ts"), "utf8");
  const declared = [...types.matchAll(/^export (?:function|class|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(client).sort());
});
