import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as client from "../../../api/web/tidemark.js";
import { gzippedSize } from "./size.js";

const path = fileURLToPath(new URL("../../../api/web/tidemark.js", import.meta.url));

test("under 12 KB gzipped, with nothing but the comments removed", () => {
  const size = gzippedSize(path);
  assert.ok(size < 12_288, `${size} bytes`);
});

test("no dependency, no build step", () => {
  assert.doesNotMatch(readFileSync(path, "utf8"), /^\s*import\s|\bimport\(|\brequire\(/m);
});

test("the types name what the module exports", () => {
  const types = readFileSync(path.replace(/\.js$/, ".d.ts"), "utf8");
  const declared = [...types.matchAll(/^export (?:function|class|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(client).sort());
});
