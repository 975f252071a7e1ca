// A document to render React in: jsdom, set up before React is loaded.

import { JSDOM } from 'jsdom';

const { window } = new JSDOM('<!doctype html><body></body>', { url: 'http://127.0.0.1/', pretendToBeVisual: true });
for (const name of ['document', 'navigator']) Object.defineProperty(globalThis, name, { value: window[name], configurable: true });
globalThis.window = window;
globalThis.IS_REACT_ACT_ENVIRONMENT = false; // the tests wait for what is shown, as a person does

// jsdom takes only AbortSignals of its own, and fetch only Node's.
for (const target of [window, document]) {
  const add = target.addEventListener;
  target.addEventListener = (type, listener, options) => {
    const { signal, ...others } = typeof options === 'object' && options !== null ? options : { capture: Boolean(options) };
    signal?.addEventListener('abort', () => target.removeEventListener(type, listener, others), { once: true });
    add.call(target, type, listener, others);
  };
}

const { createRoot } = await import('react-dom/client');

/** Renders into an element of its own. `text()` is what is shown; `close()` unmounts. */
export function render(element) {
  const box = document.body.appendChild(document.createElement('main'));
  const root = createRoot(box);
  root.render(element);
  return {
    text: () => box.textContent,
    close() {
      root.unmount();
      box.remove();
    },
  };
}
