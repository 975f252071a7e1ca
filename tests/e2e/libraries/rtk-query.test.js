// Redux Toolkit Query: a React component, rendered, on a store with the API's reducer and middleware.

import { after } from 'node:test';
import { render } from './page.js'; // before React
import { configureStore } from '@reduxjs/toolkit';
import { createElement } from 'react';
import { Provider } from 'react-redux';
import { tidemark } from './adapters/rtk-query.js';
import { cacheTests } from './cache.js';
import { cells } from './cell.js';
import { startServer } from './server.js';

const server = await startServer();
after(() => server.stop());

cacheTests(cells('Redux Toolkit Query', '@reduxjs/toolkit'), server, ({ url, space, network, id }) => {
  const api = tidemark({ url, space, fetch: network.fetch });
  const store = configureStore({
    reducer: { [api.reducerPath]: api.reducer },
    middleware: (standard) => standard().concat(api.middleware),
  });
  const seen = [];
  let write;

  function Todo() {
    const { data: item } = api.useItemQuery({ collection: 'todos', id });
    const [save] = api.useSaveMutation();
    write = async (data) => {
      const { error } = await save({ collection: 'todos', id, ...item, data });
      return error ? Object.assign(new Error(error.error), error.data, { status: error.status }) : null;
    };
    if (item === undefined) return null;
    seen.push(item && item.data);
    return JSON.stringify(item && item.data);
  }
  const page = render(createElement(Provider, { store }, createElement(Todo)));
  return {
    seen,
    shown: () => (page.text() ? JSON.parse(page.text()) : undefined),
    save: (data) => write(data),
    close() {
      page.close();
      store.dispatch(api.util.resetApiState());
    },
  };
});
