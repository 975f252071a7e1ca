import { read, stations } from './tides.js';

// The first documents of the examples' spaces, so that there is something to see. The ids are fixed: whoever comes first
// writes them, and nobody a second time.

const ID = (n) => `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`;

/** The day so many days ago, as the chat names it. */
const day = (n) => new Date(Date.now() - n * 86_400_000).toISOString().slice(0, 10);

const documents = (collection, list, first = 1) => list.map((data, i) => ({ collection, id: ID(first + i), data }));

const talks = {
  3: [
    ['Cleo', 'The barometer fell eight points since noon.'],
    ['Finn', 'Then we tie everything down tonight, not tomorrow.'],
    ['Cleo', 'The kayaks too?'],
    ['Finn', 'The kayaks first.'],
    ['Dev', 'I can be at the shed at six, and I bring Elif.'],
    ['Elif', 'Elif brings herself, thank you. Six is fine.'],
  ],
  2: [
    ['Dev', 'Force nine, they say on the wireless. No ferry before the evening.'],
    ['Cleo', 'The guests for the noon boat know?'],
    ['Dev', 'All but the Dijkstras. Nobody picks up.'],
    ['Finn', 'They sleep on the mainland today, I met them yesterday.'],
    ['Elif', 'The shed held. One kayak did not.'],
    ['Finn', 'Which one?'],
    ['Elif', 'Yours.'],
  ],
  1: [
    ['Cleo', 'Wind is down to five. The evening boat goes.'],
    ['Dev', 'I opened the kitchen, there is soup for whoever comes.'],
    ['Elif', 'Found the kayak. It is in a tree.'],
    ['Finn', 'In one piece?'],
    ['Elif', 'The tree is.'],
    ['Cleo', 'Photograph, please, for the insurance and for me.'],
  ],
};

const all = {
  badge: () => ({
    'gallery-harbour': documents('posts', [{ from: 'Cleo' }]),
    'gallery-ferry': documents('posts', [{ from: 'Dev' }]),
    'gallery-kitchen': documents('posts', [{ from: 'Elif' }]),
  }),

  list: () => ({
    'gallery-list': documents('items', [
      { title: 'Two loaves of rye', done: true },
      { title: 'Oat milk, and coffee', done: false },
      { title: 'Lamp oil', done: false },
    ]),
  }),

  comments: () => ({
    'gallery-comments': documents('comments', [
      { from: 'Cleo', text: 'Could the second crossing leave a little later? The bus arrives at ten past.' },
      { from: 'Dev', text: 'Is there room for bicycles on all of them?' },
      { from: 'Elif', text: 'Twenty on each, and forty on the one at noon.', under: ID(2) },
    ]),
  }),

  form: () => ({
    'gallery-form': [{ collection: 'bookings', id: 'july', data: {
      guest: 'Mira Dijkstra', telephone: '0222 555 014', ferry: 'the one at noon', notes: 'Two bicycles.',
    } }],
  }),

  chat: () => ({
    'gallery-chat': [3, 2, 1].flatMap((ago) => [
      { collection: 'days', id: day(ago), data: {} },
      ...documents(day(ago), talks[ago].map(([from, text], i) => ({
        from, text, at: Date.parse(`${day(ago)}T09:00:00Z`) + i * 97_000,
      })), 100 * (4 - ago)),
    ]),
  }),

  // Made by Yjs: a text of two paragraphs.
  yjs: () => ({
    'gallery-yjs': documents('updates', [{ update: 'AQEBAAQBBHRleHSMAVdhbGtpbmcgYWNyb3NzIHRvIHRoZSBpc2xhbmQKCkxvdyB3YXRlciBpcyBhdCBhIHF1YXJ0ZXIg'
      + 'cGFzdCBmb3VyLiBXZSBsZWF2ZSB0aGUgZGlrZSBhdCB0d28sIGluIGJvb3RzLCBhbmQgYXJlIGJhY2sgYmVmb3JlIHRoZSBsaWdodCBnb2VzLgoKAA==' }]),
  }),

  cron: () => ({
    'gallery-cron': [
      { collection: 'reports', id: 'lighthouse', data: { free_kb: 1_204_884 } },
      ...documents('notes', [{ text: 'Rotate the logs of the lamp room' }]),
    ],
  }),

  socketio: () => ({
    'gallery-bridge': documents('crates', [{ name: 'Lamp oil', quay: 'North' }, { name: 'Flour', quay: 'North' }, { name: 'Rope', quay: 'South' }]),
  }),

  dashboard: () => ({
    'gallery-dashboard': stations.map((id) => ({
      collection: 'levels', id, data: { points: Array.from({ length: 60 }, (_, i) => read(id, Date.now() - (60 - i) * 1000)) },
    })),
  }),
};

/** The first edits for each space of that page. */
export const seeds = (page) => all[page]?.() ?? {};
