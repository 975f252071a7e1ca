// The frame around every example: the bar on top, the source beside the running thing, who I am, and the first documents
// of a space that nobody has written to. The examples themselves need nothing of it but `me`.

import { seeds } from './seeds.js';

const $ = (selector, root = document) => root.querySelector(selector);

/** An element with properties, attributes and children. */
function make(name, { attributes = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// ------------------------------------------------------------------------------------------------------ who I am

const people = ['Ada', 'Ben', 'Cleo', 'Dev', 'Elif', 'Finn'];

function choose() {
  const asked = new URLSearchParams(location.search).get('as') ?? sessionStorage.getItem('tidemark-gallery as');
  const name = people.includes(asked) ? asked : people[Math.floor(Math.random() * people.length)];
  sessionStorage.setItem('tidemark-gallery as', name);
  return { name };
}

/** Whoever looks at this tab. In an app: the person who is signed in. */
export const me = choose();

// ---------------------------------------------------------------------------------------------------- the source

const HUES = {
  js: /(?<comment>\/\/.*)|(?<string>`(?:\\.|[^`\\])*`|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?<![.\w])(?<word>import|export|from(?= ")|const|let|for|of|in|if|else|while|return|function|async|await|new|class|try|catch|typeof)\b/g,
  html: /(?<comment><!--[\s\S]*?-->)|(?<string>"[^"]*")|(?<word><\/?[\w-]+|\/?>)/g,
  sh: /(?<comment>(?<=^|\s)#.*)|(?<string>"(?:\\.|[^"\\])*"|'[^']*')|\b(?<word>set|if|then|else|fi|while|until|for|do|done|case|esac|in|exit)\b/gm,
};

/** The text with its comments, strings and key words in their colors, and with links to the modules it imports. */
function* colored(text, language) {
  let at = 0;
  for (const { index, 0: part, groups } of text.matchAll(HUES[language])) {
    yield text.slice(at, index);
    const [hue] = Object.entries(groups).find(([, value]) => value !== undefined);
    const [, module] = /^"(\.?\/[\w./-]+\.js)"$/.exec(part) ?? [];
    yield make(module ? 'a' : 'span', { className: `hue-${hue}`, ...module && { href: module } }, part);
    at = index + part.length;
  }
  yield text.slice(at);
}

/** What the example's own markup is: all that stands within `#app`, moved to the left. */
function markup(page) {
  const [, inside] = /<section[^>]* id="app"[^>]*>\n([\s\S]*?)\n *<\/section><!-- app -->/.exec(page);
  const indent = /^ */.exec(inside)[0].length;
  return inside.split('\n').map((line) => line.slice(indent)).join('\n');
}

async function file(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.text();
}

const lines = (text) => text.split('\n').filter((line) => line.trim()).length;

function listing(name, text, language, note = '') {
  return make('section', { className: 'listing' },
    make('h3', {}, name, make('small', {}, `${lines(text)} lines${note}`)),
    make('pre', { tabIndex: 0, attributes: { 'aria-label': `Source of ${name}`, role: 'region' } }, make('code', {}, ...colored(text, language))));
}

/**
 * Fills the place for the source: the files that `data-files` names (without it the page's script), the page's own markup,
 * and what it borrows, of `data-borrowed`: an app has that from its framework or from a library.
 */
async function showSource(place) {
  const page = location.pathname.split('/').at(-1);
  const { files = `${page}.js`, borrowed } = place.dataset;
  const show = (names, note) => Promise.all((names?.split(' ') ?? [])
    .map(async (name) => listing(name, (await file(name)).trimEnd(), name.endsWith('.sh') ? 'sh' : 'js', note)));
  const [html, own, others] = await Promise.all([file(page), show(files), show(borrowed, ', borrowed: an app has a library for it')]);
  place.append(...own, listing(`${page}.html`, markup(html), 'html'), ...others);
}

// ------------------------------------------------------------------------------------------------------ the frame

function theme() {
  const set = (name) => { document.documentElement.dataset.theme = name; };
  const chosen = localStorage.getItem('tidemark-demo theme');
  if (chosen) set(chosen);
  return () => {
    const now = document.documentElement.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    const next = now === 'dark' ? 'light' : 'dark';
    set(next);
    localStorage.setItem('tidemark-demo theme', next);
  };
}

function bar() {
  const picture = (text, name) => {
    const svg = new DOMParser().parseFromString(`<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true" ${text}</svg>`, 'image/svg+xml').documentElement;
    svg.setAttribute('class', name);
    return svg;
  };
  const mark = picture('viewBox="0 0 28 28"><path d="M3 7.5h22" stroke-dasharray="2.6 3.9"/><path d="M3 15q2.75-3.2 5.5 0t5.5 0 5.5 0 5.5 0M3 22q2.75-3.2 5.5 0t5.5 0 5.5 0 5.5 0"/>', 'mark');
  const half = picture('viewBox="0 0 20 20"><circle cx="10" cy="10" r="7"/><path class="fill" d="M10 3a7 7 0 0 1 0 14z"/>', '');
  const index = location.pathname === '/gallery/';
  return make('header', { className: 'top' },
    make('a', { className: 'wordmark', href: '/' }, mark, 'Tidemark'),
    make('p', { className: 'space' }, index ? 'Gallery' : make('a', { href: '/gallery/' }, 'Gallery')),
    make('nav', { className: 'links', attributes: { 'aria-label': 'Tidemark' } },
      make('a', { href: '/' }, 'Demo'),
      make('a', { href: '/docs' }, 'API', make('span', { className: 'more' }, ' reference')),
      make('button', { className: 'icon-button', type: 'button', onclick: theme(), attributes: { 'aria-label': 'Switch between light and dark' } }, half)));
}

/** Who I am here, and a second window for somebody else. */
function company() {
  const next = people[(people.indexOf(me.name) + 1) % people.length];
  const other = `${location.pathname}?${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(location.search)), as: next })}`;
  return make('p', { className: 'company' },
    make('span', { className: 'face', attributes: { 'data-who': me.name, 'aria-hidden': 'true' } }, me.name[0]),
    make('span', {}, 'Here you are ', make('strong', {}, me.name), '.'),
    make('a', { href: other, target: '_blank' }, `Be ${next} in a second window`));
}

/** Writes the first documents of a space, if nobody ever wrote to it. Two windows at once write the same edits. */
async function seed(space, edits) {
  const answer = await fetch(`/v1/heads?space=${space}`);
  const { heads } = await answer.json();
  if (heads[0].version) return;
  await fetch(`/v1/spaces/${space}/push`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ client_id: 'gallery', edits: edits.map((edit, i) => ({ edit_id: `seed-${i}`, op: 'put', base_version: 0, ...edit })) }),
  });
}

document.body.prepend(bar());
const source = $('.source');
if (source) {
  $('.lead').append(company());
  showSource(source);
  for (const [space, edits] of Object.entries(seeds(location.pathname.split('/').at(-1)))) seed(space, edits);
}
