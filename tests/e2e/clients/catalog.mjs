// Every client that is generated from openapi.yaml: the command that a user runs, and how the tests compile and run what
// it wrote. README shows the commands word for word (clients.test.mjs holds it to that).

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, '../../..');

const { devDependencies } = createRequire(import.meta.url)('./package.json');

const pinned = (file, pattern) => pattern.exec(readFileSync(join(here, file), 'utf8'))[1];
const ogen = pinned('ogen/go.mod', /^\s*github\.com\/ogen-go\/ogen (v\S+)/m);
const generator = pinned('requirements.txt', /^openapi-generator-cli==(\S+)$/m);

const npx = (name, rest) => `npx ${name}@${devDependencies[name]} ${rest}`;
const openapiGenerator = (language, ...properties) =>
  ['openapi-generator-cli generate -i openapi.yaml -o tidemark -g', language, properties.length > 0 ? `-p ${properties.join()}` : ''].join(' ').trim();
/** openapi-generator says so of objects of any form (ItemData), which become maps of the language. */
const inlineMaps = /ModelUtils - Failed to get the schema name: null/;

/** Python programs that the tests install, in an environment of their own. */
export const python = join(here, 'build/python');
/** What generators and compilers are started with. */
export const environment = {
  ...process.env,
  PATH: [join(python, 'bin'), process.env.PATH].join(delimiter),
  // What they would tell their makers is nobody's business.
  SCARF_ANALYTICS: 'false', DO_NOT_TRACK: '1',
  // With it a test that a test starts runs nothing.
  NODE_TEST_CONTEXT: undefined,
};

const tsc = (folder) => ['npx', '--no-install', 'tsc', '--project', folder];
// Up to where pom.xml copies what the client needs to run.
const maven = (folder) => ['mvn', '--batch-mode', '--quiet', '--file', `${folder}/pom.xml`, 'process-classes'];
const java = (folder, main) => ['java', '-cp', [`build/${folder}/classes`, `build/${folder}/lib/*`].join(delimiter), main];

/**
 * folder: where the client is; what is generated goes to `generated` in it.
 * command: what a user runs. `openapi.yaml` and `tidemark` stand for the description and for where it goes.
 * within: the folder that the command is run in, if not this one.
 * needs: programs that must be there to compile and run it; without one it is not done here.
 * compile, run: run in this folder. A client without them is only looked at: inspect.mjs.
 * may: what the generator says although nothing is wrong.
 */
export const clients = [
  {
    name: `hey-api ${devDependencies['@hey-api/openapi-ts']}`, language: 'TypeScript', folder: 'hey-api',
    command: npx('@hey-api/openapi-ts', '-i openapi.yaml -o tidemark -c @hey-api/client-fetch'),
    compile: tsc('hey-api'),
    run: ['node', 'build/hey-api/client.js'],
  },
  {
    name: `orval ${devDependencies.orval}`, language: 'TypeScript', folder: 'orval',
    command: npx('orval', '--input openapi.yaml --output tidemark/tidemark.ts --client fetch'),
    compile: tsc('orval'),
    run: ['node', 'build/orval/client.js'],
  },
  {
    name: `ogen ${ogen.slice(1)}`, language: 'Go', folder: 'ogen', within: 'ogen',
    command: `go run github.com/ogen-go/ogen/cmd/ogen@${ogen} --package tidemark --target tidemark --clean openapi.yaml`,
    // The client sends what it is given and shows what comes: both are nothing that a description can mend.
    may: [/Ensuring "status" matching HTTP status code will not be enforced yet/, /Header name is not canonical/],
    compile: ['go', 'build', '-C', 'ogen', '-o', '../build/ogen', '.'],
    run: ['build/ogen'],
  },
  {
    name: `openapi-generator ${generator}, python`, language: 'Python', folder: 'python', needs: ['python3'],
    command: openapiGenerator('python', 'packageName=tidemark'),
    may: [inlineMaps],
    compile: ['python3', '-m', 'compileall', '-q', 'python/generated/tidemark'],
    run: ['python3', 'python/client.py'],
    env: { PYTHONPATH: join(here, 'python/generated') },
  },
  {
    name: `openapi-generator ${generator}, rust`, language: 'Rust', folder: 'rust', needs: ['cargo'],
    command: openapiGenerator('rust', 'packageName=tidemark', 'supportMultipleResponses=true', 'useSingleRequestParameter=true'),
    may: [inlineMaps, /AbstractRustCodegen - .* cannot be used as a (model|field\/variable) name\. Renamed to/],
    compile: ['cargo', 'build', '--quiet', '--locked', '--manifest-path', 'rust/Cargo.toml', '--target-dir', 'build/rust'],
    run: ['build/rust/debug/client'],
  },
  {
    name: `openapi-generator ${generator}, java`, language: 'Java', folder: 'java', needs: ['mvn'],
    command: openapiGenerator('java --library native', 'invokerPackage=tidemark', 'apiPackage=tidemark.api', 'modelPackage=tidemark.model', 'openApiNullable=false', 'enumUnknownDefaultCase=true'),
    // The first is of its documentation, the second of what brings a file (getAsset).
    may: [inlineMaps, /AbstractJavaCodegen - Ignoring complex example on request body/, /AbstractJavaCodegen - File \(reserved word\) cannot be used as model name/],
    compile: maven('java'),
    run: java('java', 'Client'),
  },
  {
    name: `openapi-generator ${generator}, kotlin`, language: 'Kotlin', folder: 'kotlin', needs: ['mvn'],
    command: openapiGenerator('kotlin', 'packageName=tidemark', 'enumUnknownDefaultCase=true'),
    may: [inlineMaps],
    compile: maven('kotlin'),
    run: java('kotlin', 'tidemark.sync.ClientKt'),
    more: ['background sync'],
  },
  {
    name: `openapi-generator ${generator}, swift6`, language: 'Swift', folder: 'swift',
    command: openapiGenerator('swift6', 'projectName=Tidemark', 'enumUnknownDefaultCase=true'),
    may: [inlineMaps],
  },
  {
    // Not `dart`: what is not set it sends as null, and data with every delete.
    name: `openapi-generator ${generator}, dart-dio`, language: 'Dart', folder: 'dart',
    command: openapiGenerator('dart-dio', 'pubName=tidemark', 'serializationLibrary=json_serializable', 'enumUnknownDefaultCase=true'),
    may: [inlineMaps],
  },
  {
    name: `openapi-generator ${generator}, csharp`, language: 'C#', folder: 'csharp',
    command: openapiGenerator('csharp', 'packageName=Tidemark'),
    may: [inlineMaps],
  },
];

const { devDependencies: spec } = createRequire(import.meta.url)('../spec/package.json');
const oapiCodegen = pinned('../../../go.mod', /^\s*github\.com\/oapi-codegen\/oapi-codegen\/v2 (v\S+)/m);

/**
 * Clients that have their tests elsewhere. within: where the generator is installed. run: in the root of the repository.
 * tests: which of its tests says what of a scenario.
 */
export const borrowed = [
  {
    name: `openapi-typescript ${spec['openapi-typescript']}, openapi-fetch ${spec['openapi-fetch']}`, language: 'TypeScript',
    folder: 'openapi-fetch', within: '../spec',
    command: `npx openapi-typescript@${spec['openapi-typescript']} openapi.yaml -o tidemark.d.ts`,
    run: ['sh', 'scripts/with-server.sh', 'bin/tidemark', 'npm', '--silent', '--prefix', 'tests/e2e/spec', 'run', 'client'],
    env: { NODE_OPTIONS: '--test-reporter=tap' },
    verdict: /^ *(ok|not ok) \d+ - (.*)$/gm,
    tests: {
      push: 'push, retry, conflict', conflict: 'push, retry, conflict',
      'pull pages': 'pull page by page, 304 only when asked for, 410', 304: 'pull page by page, 304 only when asked for, 410',
      410: 'pull page by page, 304 only when asked for, 410', presence: 'presence',
    },
  },
  {
    name: `oapi-codegen ${oapiCodegen.slice(1)}`, language: 'Go',
    folder: 'oapi-codegen', within: '../../..',
    command: `go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@${oapiCodegen} -package tidemark -generate types,client -o tidemark.gen.go openapi.yaml`,
    run: ['go', 'test', '-count=1', '-v', '-run', 'TestClient$/sqlite', './tests/contract/goclient'],
    verdict: /^ *--- (PASS|FAIL): TestClient\/sqlite\/(\S+)/gm,
    tests: {
      push: 'push_and_conflict', conflict: 'push_and_conflict',
      'pull pages': 'pull_pages_and_304', 304: 'pull_pages_and_304', 410: '410', presence: 'presence',
    },
  },
];

/** A client's command as a list, with the paths of this checkout. */
export function generation(client) {
  const output = join(here, client.folder, 'generated');
  return client.command.split(' ').map((word, i, words) => word
    .replace(/^openapi\.yaml$/, () => join(root, 'openapi.yaml'))
    // go.mod has the version, and go.sum says what that is.
    .replace(/^(github\.com\/\S+)@\S+$/, '$1')
    .replace(/^tidemark(?=$|\/)/, (name) => /^--?package$/.test(words[i - 1]) ? name : output)
    .replace(/^tidemark\.\S+$/, (name) => join(output, name)));
}
