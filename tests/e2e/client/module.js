// The client that the tests test: the source or, with TIDEMARK_CLIENT=dist, what is made of it for browsers and npm.

const files = { source: "tidemark.js", dist: "dist/tidemark.js" };
const { TIDEMARK_CLIENT: chosen = "source" } = process.env;
if (!Object.hasOwn(files, chosen)) throw new Error(`TIDEMARK_CLIENT is ${chosen}, and can be source or dist`);

export const { connect, mergeFields, newId, SyncError } = await import(new URL(`../../../api/web/${files[chosen]}`, import.meta.url));

/** Its row in the table of make e2e-all. */
export const row = chosen === "dist" ? "tidemark.js, minified" : "tidemark.js";
