// What a framework would do for the examples: one element for each item, and the same one
// for as long as the item is there, so that nothing on it loses its focus. `make(node, id)`
// gets a copy of the template and returns what shows an item on it.
export function each(parent, template, make) {
  const known = new Map();
  return (items) => {
    const ids = new Set(items.map(({ id }) => id));
    for (const [id, { node }] of known) {
      if (ids.has(id)) continue;
      node.remove();
      known.delete(id);
    }
    for (const [i, item] of items.entries()) {
      if (!known.has(item.id)) {
        const node = template.content.firstElementChild.cloneNode(true);
        known.set(item.id, { node, show: make(node, item.id) });
      }
      const { node, show } = known.get(item.id);
      if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
      show(item);
    }
  };
}
