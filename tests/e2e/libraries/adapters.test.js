// An adapter is an example: somebody reads it in one go and copies it. So each is short and stands alone.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const folder = new URL('adapters/', import.meta.url);
const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
const { devDependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));

for (const name of readdirSync(folder)) {
  const text = readFileSync(new URL(name, folder), 'utf8');

  test(`${name} has at most 60 lines`, () => {
    assert.ok(text.split('\n').length - 1 <= 60, `it has ${text.split('\n').length - 1}`);
    for (const line of text.split('\n')) assert.ok(line.length <= 130, `too long to read: ${line}`);
  });

  test(`${name} stands alone`, () => {
    for (const [, from] of text.matchAll(/ from '([^']+)'/g)) {
      if (from.startsWith('.')) assert.match(from, /^(\.\.\/)+api\/web\/dist\/tidemark\.js$/);
      else assert.ok(Object.keys(devDependencies).some((library) => from === library || from.startsWith(`${library}/`)), from);
    }
  });

  test(`the README links to ${name}, and it is tested`, () => {
    assert.ok(readme.includes(`(tests/e2e/libraries/adapters/${name})`));
    assert.match(readFileSync(new URL(name.replace('.js', '.test.js'), import.meta.url), 'utf8'), new RegExp(` from './adapters/${name}'`));
  });
}
