// The first documents of the examples' spaces, so that there is something to see. The ids are fixed: whoever comes first
// writes them, and nobody a second time.

const ID = (n) => `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`;

const documents = (collection, list) => list.map((data, i) => ({ collection, id: ID(i + 1), data }));

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
};

/** The first edits for each space of that page. */
export const seeds = (page) => all[page]?.() ?? {};
