// Looks at a client that cannot be compiled here: that every operation and every schema of openapi.yaml is there, that
// an edit can be made as the server wants it, and that each file is well-formed in its language.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Language, Parser } from 'web-tree-sitter';
import { here, root } from './catalog.mjs';

const { resolve } = createRequire(import.meta.url);
const upper = (name) => name[0].toUpperCase() + name.slice(1);
const snake = (name) => name.replace(/(?<!^)[A-Z]/g, '_$&').toLowerCase();

/**
 * operation, model: how one of that name begins; edit: what the model of an edit must say, so that what is not set is not
 * sent (the server takes no null, and no data with a delete), versions have 64 bits and a document is a map of anything.
 */
const languages = {
  swift: {
    grammar: 'swift', ending: 'swift',
    operation: (name) => new RegExp(`open class func ${name}\\(`),
    model: (name) => new RegExp(`^public struct ${name}: `, 'm'),
    edit: [/var baseVersion: Int64\?$/m, /var data: \[String: JSONValue\]\?$/m, /encodeIfPresent\(data, forKey: \.data\)/, /case put = "put"\s+case patch = "patch"\s+case delete = "delete"/],
    own: ['swift/Sync.swift'],
    // Younger than the grammar; and no description changes what is in Infrastructure.
    plain: (text) => text.replaceAll('throws(ErrorResponse)', 'throws'),
    unread: /\/Infrastructure\//,
    also: callsOfSync,
  },
  dart: {
    grammar: 'dart', ending: 'dart',
    operation: (name) => new RegExp(`Future<Response<.+>> ${name}\\(`),
    model: (name) => new RegExp(`^class ${name} \\{`, 'm'),
    edit: [/final int\? baseVersion;/, /final Map<String, Object>\? data;/, /name: r'data',\s+required: false,\s+includeIfNull: false,/, /@JsonValue\(r'put'\)[^@]+@JsonValue\(r'patch'\)[^@]+@JsonValue\(r'delete'\)/],
  },
  csharp: {
    grammar: 'c_sharp', ending: 'cs',
    operation: (name) => new RegExp(`Task<I${upper(name)}ApiResponse> ${upper(name)}Async\\(`),
    model: (name) => new RegExp(`public partial class ${name} : `),
    edit: [/public long\? BaseVersion /, /public Dictionary<string, Object>\? Data /, /if \(edit\.DataOption\.IsSet\)\s/, /Put = 1,[^=]+Patch = 2,[^=]+Delete = 3/],
  },
};

/** What openapi.yaml names: its operations, and those of its schemas that have properties. */
function described() {
  const text = readFileSync(join(root, 'openapi.yaml'), 'utf8');
  const schemas = text.slice(text.indexOf('\n  schemas:\n'));
  const [paths] = /^paths:\n(?: .*\n|\n)+/m.exec(text); // what the server sends by itself is no operation of a client
  return {
    operations: [...paths.matchAll(/^ {6}operationId: (\w+)$/gm)].map(([, name]) => name),
    models: [...schemas.matchAll(/^ {4}(\w+):\n(?:(?! {4}\w).*\n)*? {6}properties:$/gm)].map(([, name]) => name),
  };
}

/** Throws unless the client in this folder is as it should be. */
export async function inspect(folder) {
  const language = languages[folder];
  const generated = join(here, folder, 'generated');
  const files = readdirSync(generated, { recursive: true }).filter((name) => name.endsWith(`.${language.ending}`)).map((name) => join(generated, name));
  const own = (language.own ?? []).map((name) => join(here, name));
  const texts = new Map([...files, ...own].map((file) => [file, readFileSync(file, 'utf8')]));
  const code = files.map((file) => texts.get(file)).join('\n');

  const { operations, models } = described();
  assert.ok(operations.length >= 25 && models.length >= 19, `openapi.yaml was read wrongly: ${operations.length} operations, ${models.length} schemas`);
  for (const name of operations) assert.match(code, language.operation(name), `the operation ${name}`);
  for (const name of models) assert.match(code, language.model(name), `the model ${name}`);

  const edit = texts.get(files.find((file) => /\/edit\.\w+$/i.test(file)));
  for (const pattern of language.edit) assert.match(edit, pattern, `the model Edit: ${pattern}`);

  await Parser.init();
  const parser = new Parser();
  parser.setLanguage(await Language.load(resolve(`@repomix/tree-sitter-wasms/out/tree-sitter-${language.grammar}.wasm`)));
  for (const [file, text] of texts) {
    if (language.unread?.test(file)) continue;
    const tree = parser.parse(language.plain?.(text) ?? text);
    const wrong = firstError(tree.rootNode);
    assert.equal(wrong, undefined, `${file}:${wrong?.line}: ${wrong?.text}`);
    tree.delete();
  }
  language.also?.(code, texts.get(own[0]));
  return files.length;
}

/** Where a tree has what the grammar does not know. */
function firstError(node) {
  if (!node.hasError) return undefined;
  if (node.isError || node.isMissing) return { line: node.startPosition.row + 1, text: node.text.slice(0, 200) };
  for (const child of node.children) {
    const wrong = firstError(child);
    if (wrong) return wrong;
  }
  return undefined;
}

/** What Sync.swift calls has those parameters, in that order. */
function callsOfSync(code, sync) {
  const labels = (text, from) => {
    let depth = 0;
    let top = '';
    for (const character of text.slice(from)) {
      if (')]}'.includes(character) && --depth === 0) break;
      if (depth === 1) top += character;
      if ('([{'.includes(character)) depth++;
    }
    return [...top.matchAll(/(?:^|,)\s*(\w+):/g)].map(([, label]) => label);
  };
  for (const [call, declaration] of [
    ['SyncAPI.pullChanges(', 'open class func pullChanges('],
    ['SyncAPI.pushEdits(', 'open class func pushEdits('],
    [' PushRequest(', 'public struct PushRequest:'],
    [' Page(', 'public struct Page:'],
  ]) {
    const used = labels(sync, sync.indexOf(call) + call.length - 1);
    let at = code.indexOf(declaration);
    if (!declaration.endsWith('(')) at = code.indexOf('public init(', at);
    const declared = labels(code, code.indexOf('(', at));
    assert.ok(used.length > 0 && declared.length > 0, `${call} was read wrongly`);
    assert.deepEqual(declared.filter((label) => used.includes(label)), used, `what ${call} is called with`);
  }
}
