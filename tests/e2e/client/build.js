// Makes api/web/dist, which is what browsers get and what npm packs, of api/web/tidemark.js (make client). The map holds
// the source, so developer tools show and step through what people wrote.

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { minify } from "terser";

const web = new URL("../../../api/web/", import.meta.url);

/** Names of fields that no app, no message and no store has: they may be as short as variables are. */
const internal = ["answered", "dropFlight", "farewell", "isRunning", "longest", "mirror", "nextFlight", "onEvent", "onMismatch",
  "onOffer", "onPublish", "opened", "paging", "resting", "serve", "startResync", "takePage", "taken", "unseen", "written"];

/** The module and its source map, as text, by the name of the file each is in. */
export async function build() {
  const { code, map } = await minify({ "tidemark.js": readFileSync(new URL("tidemark.js", web), "utf8") }, {
    module: true,
    ecma: 2022,
    compress: { passes: 3, inline: 1 },
    mangle: { properties: { regex: new RegExp(`^(${internal.join("|")})$`), keep_quoted: true } },
    sourceMap: { filename: "tidemark.js", url: "tidemark.js.map", includeSources: true },
  });
  return { "tidemark.js": code, "tidemark.js.map": map };
}

/** A file as it was last built. */
export function built(name) {
  return readFileSync(new URL(`dist/${name}`, web), "utf8");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [name, text] of Object.entries(await build())) writeFileSync(new URL(`dist/${name}`, web), text);
}
