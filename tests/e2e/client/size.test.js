import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { test } from "node:test";
import * as served from "../../../api/web/dist/tidemark.js";
import * as client from "../../../api/web/tidemark.js";
import { build, built } from "./build.js";

const read = (name) => readFileSync(new URL(`../../../api/web/${name}`, import.meta.url), "utf8");
const source = read("tidemark.js");

test("what is served is built of the source as it is now: make client", async () => {
  for (const [name, text] of Object.entries(await build())) assert.equal(built(name), text, name);
  assert.deepEqual(Object.keys(served), Object.keys(client));
});

test("developer tools find the source of what is served", () => {
  const map = JSON.parse(built("tidemark.js.map"));
  assert.deepEqual(map.sourcesContent, [source]);
  const at = built("tidemark.js").indexOf("extends Error{");
  const { originalLine } = new SourceMap(map).findEntry(0, at);
  assert.match(source.split("\n")[originalLine], /^export class SyncError extends Error/);
});

test("no dependency", () => {
  assert.doesNotMatch(source, /^\s*import\s|\bimport\(|\brequire\(/m);
});

test("the types name what the module exports", () => {
  const declared = [...read("tidemark.d.ts").matchAll(/^export (?:function|class|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(client).sort());
});
