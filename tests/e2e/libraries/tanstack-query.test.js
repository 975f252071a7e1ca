// TanStack Query: a React component, rendered, whose document is a query and whose writes are mutations.

import { after } from 'node:test';
import { render } from './page.js'; // before React
import { QueryClient, QueryClientProvider, useMutation, useQuery } from '@tanstack/react-query';
import { createElement } from 'react';
import { tidemark } from './adapters/tanstack-query.js';
import { cacheTests } from './cache.js';
import { cells } from './cell.js';
import { startServer } from './server.js';

const server = await startServer();
after(() => server.stop());

cacheTests(cells('TanStack Query', '@tanstack/react-query'), server, ({ url, space, network, id }) => {
  const queryClient = new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: Infinity } } });
  const todos = tidemark({ url, space, queryClient, fetch: network.fetch });
  const seen = [];
  let save;

  function Todo() {
    const { data: item } = useQuery(todos.query('todos', id));
    const { mutateAsync } = useMutation(todos.mutation('todos', id));
    save = (data) => mutateAsync({ ...item, data }).then(() => null, (error) => error);
    if (item === undefined) return null;
    seen.push(item && item.data);
    return JSON.stringify(item && item.data);
  }
  const page = render(createElement(QueryClientProvider, { client: queryClient }, createElement(Todo)));
  return {
    seen,
    shown: () => (page.text() ? JSON.parse(page.text()) : undefined),
    save: (data) => save(data),
    close() {
      page.close();
      queryClient.clear();
    },
  };
});
