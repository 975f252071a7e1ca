// Fetches the API reference's script again (npm run docs-asset): Scalar's
// standalone bundle, at the version below, gzipped into api/web/vendor. To
// update, change the version, run it, run docs.test.mjs and look at /docs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const version = "1.72.1";
const target = new URL("../../../api/web/vendor/scalar.js.gz", import.meta.url);

const dir = mkdtempSync(join(tmpdir(), "tidemark-docs-asset-"));
try {
  const [pack] = JSON.parse(
    execFileSync("npm", ["pack", "--json", `@scalar/api-reference@${version}`], { cwd: dir, stdio: ["ignore", "pipe", "ignore"] }),
  );
  const bundle = "package/dist/browser/standalone.js";
  execFileSync("tar", ["-xzf", pack.filename, bundle], { cwd: dir });
  // No time stamp goes into the header, so that the same version gives the same file.
  const packed = gzipSync(readFileSync(join(dir, bundle)), { level: 9 });
  writeFileSync(target, packed);
  console.log(`api/web/vendor/scalar.js.gz: @scalar/api-reference ${version}, ${packed.length} bytes`);
} finally {
  rmSync(dir, { recursive: true });
}
