// Writes the clients from openapi.yaml, each into `generated` in its folder: all of them (make clients), or those whose
// folders are named.

import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { borrowed, clients, environment, generation, here, python } from './catalog.mjs';
import { must, there } from './programs.mjs';

/** Installs openapi-generator and what the client in Python needs, unless that was done for these requirements. */
async function installPython() {
  const wanted = await readFile(join(here, 'requirements.txt'), 'utf8');
  const stamp = join(python, 'installed.txt');
  if (existsSync(stamp) && await readFile(stamp, 'utf8') === wanted) return;
  await rm(python, { recursive: true, force: true });
  await must(['python3', '-m', 'venv', python]);
  await must([join(python, 'bin/pip'), 'install', '--quiet', '--disable-pip-version-check', '--requirement', join(here, 'requirements.txt')]);
  await writeFile(stamp, wanted);
}

let installed;

/** What is missing here to generate a client, or undefined. */
export function missing(client) {
  const [program] = client.command.split(' ');
  const needs = program === 'openapi-generator-cli' ? ['java', 'python3'] : [program];
  return needs.find((program) => !there(program));
}

/** Generates one client. What the generator says about the description, apart from what `may` excuses, is an error. */
export async function generate(client) {
  const command = generation(client);
  if (command[0] === 'openapi-generator-cli') {
    installed ??= installPython();
    await installed;
  }
  const cwd = join(here, client.within ?? '');
  if (command[0] === 'npx' && !existsSync(join(cwd, 'node_modules'))) await must(['npm', 'ci', '--silent'], { cwd });
  await rm(join(here, client.folder, 'generated'), { recursive: true, force: true });
  // Those that write one file want its folder.
  await mkdir(join(here, client.folder, 'generated'), { recursive: true });
  const { output } = await must(command, { cwd, env: environment });
  const complaints = output.split('\n')
    .filter((line) => /\b(WARN|WARNING|ERROR|FATAL)\b|\b(warning|error):/.test(line) && !(client.may ?? []).some((pattern) => pattern.test(line)));
  if (complaints.length > 0) throw new Error(`${client.name} complains of openapi.yaml:\n${complaints.join('\n')}`);
}

if (process.argv[1] === join(here, 'generate.mjs')) {
  const named = process.argv.slice(2);
  for (const client of [...borrowed, ...clients].filter(({ folder }) => named.length === 0 || named.includes(folder))) {
    const program = missing(client);
    if (program) {
      console.log(`${client.language}, ${client.name}: not here, for want of ${program}`);
      continue;
    }
    await generate(client);
    console.log(`${client.language}, ${client.name}: tests/e2e/clients/${client.folder}/generated`);
  }
}
