// Several nodes on one PostgreSQL behind nginx: what a deployment looks like to a browser.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { binary, newFolder, run, startServer } from '../server.js';

const NGINX = process.env.NGINX ?? '/usr/sbin/nginx';
const SECRET = 'a secret of thirty-two characters';

/** The arguments of a server that wants tokens. */
export const withAuth = ['--auth-secret', SECRET, '--rate-limit', '0'];

/** A token for one space. */
export function tokenFor(space, subject) {
  const { path, env } = binary();
  return execFileSync(path, ['token', ...withAuth, '--subject', subject, '--space', `${space}=rw`], { env, encoding: 'utf8' }).trim();
}

/** The database that is there for these tests. */
export function database() {
  const url = process.env.TIDEMARK_TEST_DATABASE_URL;
  assert.ok(url, 'TIDEMARK_TEST_DATABASE_URL is not set: start these tests by "go run ./tests/pgtest/cmd -- ...", as scripts/e2e.sh does');
  return url;
}

/**
 * Starts a node on the shared database. `restart` ends it as a deployment does and starts it again at the same address,
 * after what is to happen `meanwhile`.
 */
export async function startNode(args = []) {
  const start = (listen) => startServer({ listen, database: database(), args });
  const node = await start('127.0.0.1:0');
  const { host } = new URL(node.origin);
  node.host = host;
  node.restart = async (meanwhile) => {
    await node.stop();
    await meanwhile?.();
    Object.assign(node, { stop: (await start(host)).stop });
  };
  return node;
}

/** A way to one server at a time, like that of a load balancer whose other nodes are away. `to` sends new connections elsewhere. */
export async function startRelay(origin) {
  let target = new URL(origin);
  const open = new Set();
  const server = createServer((near) => {
    const far = connect(target.port, target.hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => open.delete(one));
      one.pipe(other);
    }
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    to(other) { target = new URL(other); },
    async stop() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => { server.close(resolve); });
    },
  };
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const { port } = server.address();
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

/**
 * Starts nginx in front of nodes. Its configuration says where things are and leaves all else as nginx has it: buffering,
 * HTTP/1.0 towards the nodes, 60 s of patience. The group of nodes is called localhost because nginx sends that name as
 * the host, and a server without auth answers to no other. `locations` are the lines that the manual has for more than
 * that; there the group is called tidemark.
 */
export async function startNginx(hosts, locations = '') {
  const folder = await newFolder();
  const port = await freePort();
  await chmod(folder.path, 0o755); // started by root, nginx works as another user
  await mkdir(join(folder.path, 'temp'));
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path temp/${name};`).join(' ');
  const configuration = join(folder.path, 'nginx.conf');
  await writeFile(configuration, `
    daemon off;
    pid nginx.pid;
    error_log stderr;
    events {}
    http {
      access_log off;
      ${temp}
      ${['localhost', 'tidemark'].map((group) => `upstream ${group} { ${hosts.map((host) => `server ${host};`).join(' ')} }`).join('\n')}
      server {
        listen 127.0.0.1:${port};
        location / { proxy_pass http://localhost; }
        ${locations}
      }
    }`);
  const nginx = run(NGINX, ['-p', folder.path, '-e', 'stderr', '-c', configuration]);
  const stop = async () => {
    await nginx.stop();
    await folder.remove();
  };
  const origin = `http://127.0.0.1:${port}`;
  const gone = nginx.gone.then(() => true);
  while (!(await fetch(`${origin}/healthz`).then(({ ok }) => ok, () => false))) {
    if (await Promise.race([gone, new Promise((resolve) => { setImmediate(resolve, false); })])) {
      await stop();
      throw new Error(`nginx (${NGINX}; NGINX names another) did not start.\n${nginx.log}`);
    }
  }
  return { origin, stop };
}
