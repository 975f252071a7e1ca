// Fetches again what the gallery serves of others (npm run gallery-assets): Yjs as one file, and Socket.IO's client as it
// is published, both gzipped into api/web/vendor. To update, change the versions here, in package.json and in
// api/web/vendor/README.md, run it, and run browser/gallery.test.js.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const packages = ['yjs@13.6.33', 'lib0@0.2.120', 'socket.io-client@4.8.4', 'esbuild@0.28.2'];
const vendor = new URL('../../api/web/vendor/', import.meta.url);

const dir = mkdtempSync(join(tmpdir(), 'tidemark-gallery-assets-'));
try {
  const run = (program, ...args) => execFileSync(program, args, { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] });
  writeFileSync(join(dir, 'package.json'), '{"private": true}');
  run('npm', 'install', '--silent', '--no-audit', '--no-fund', ...packages);
  const modules = (path) => join(dir, 'node_modules', path);
  run(modules('.bin/esbuild'), modules('yjs/dist/yjs.mjs'), '--bundle', '--format=esm', '--minify', '--log-level=error', '--outfile=yjs.js');
  for (const [name, bundle, ...licensed] of [
    ['yjs', join(dir, 'yjs.js'), 'yjs', 'lib0'],
    ['socket.io', modules('socket.io-client/dist/socket.io.esm.min.js'), 'socket.io-client'],
  ]) {
    const packed = gzipSync(readFileSync(bundle), { level: 9 });
    writeFileSync(new URL(`${name}.js.gz`, vendor), packed);
    const licenses = licensed.map((part) => `${part}\n\n${readFileSync(modules(`${part}/LICENSE`), 'utf8').trim()}\n`);
    writeFileSync(new URL(`${name}.LICENSE`, vendor), licenses.join('\n\n'));
    console.log(`api/web/vendor/${name}.js.gz: ${packed.length} bytes`);
  }
} finally {
  rmSync(dir, { recursive: true });
}
