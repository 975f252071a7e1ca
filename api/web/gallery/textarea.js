// Binds a textarea to a Y.Text, as others do it for real editors (y-prosemirror,
// y-codemirror): what is typed goes into the text, what others type comes into the area, and
// the caret stays between the same two letters.
export function bind(Y, text, area) {
  const { doc } = text;
  const tail = (letter) => /[\uDC00-\uDFFF]/.test(letter ?? ''); // an emoji's second half

  area.addEventListener('input', () => {
    const [was, is] = [text.toString(), area.value];
    const shorter = Math.min(was.length, is.length);
    let start = 0;
    while (start < shorter && was[start] === is[start]) start++;
    if (start && (tail(was[start]) || tail(is[start]))) start--;
    let end = 0;
    while (end < shorter - start && was.at(-1 - end) === is.at(-1 - end)) end++;
    if (end && tail(was.at(-end))) end--;
    doc.transact(() => {
      text.delete(start, was.length - end - start);
      text.insert(start, is.slice(start, is.length - end));
    }, area);
  });

  let carets = [];
  doc.on('beforeTransaction', () => {
    carets = [area.selectionStart, area.selectionEnd]
      .map((at) => Y.createRelativePositionFromTypeIndex(text, at, -1));
  });
  text.observe((event, { origin }) => {
    if (origin === area) return;
    area.value = text.toString();
    area.setSelectionRange(...carets
      .map((caret) => Y.createAbsolutePositionFromRelativePosition(caret, doc)?.index ?? 0));
  });
}
