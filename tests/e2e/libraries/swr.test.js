// SWR: a React component, rendered, that uses the hook.

import { after } from 'node:test';
import { render } from './page.js'; // before React
import { createElement } from 'react';
import { SWRConfig } from 'swr';
import { tidemark } from './adapters/swr.js';
import { cacheTests } from './cache.js';
import { cells } from './cell.js';
import { startServer } from './server.js';

const server = await startServer();
after(() => server.stop());

cacheTests(cells('SWR', 'swr'), server, ({ url, space, network, id }) => {
  const useItem = tidemark({ url, space, fetch: network.fetch });
  const seen = [];
  let write;

  function Todo() {
    const { item, save } = useItem('todos', id);
    write = (data) => save(data).then(() => null, (error) => error);
    if (item === undefined) return null;
    seen.push(item && item.data);
    return JSON.stringify(item && item.data);
  }
  const config = { provider: () => new Map(), shouldRetryOnError: false, revalidateOnFocus: false, dedupingInterval: 0 };
  const page = render(createElement(SWRConfig, { value: config }, createElement(Todo)));
  return { seen, shown: () => (page.text() ? JSON.parse(page.text()) : undefined), save: (data) => write(data), close: page.close };
});
