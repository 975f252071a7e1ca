// How large the client is on the wire when nothing but its comments is removed.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import ts from "typescript";

/** The source without comments and empty lines, otherwise as written. */
export function withoutComments(source) {
  const file = ts.createSourceFile("tidemark.js", source, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS);
  const comments = new Map();
  const visit = (node) => {
    for (const range of [
      ...(ts.getLeadingCommentRanges(source, node.getFullStart()) ?? []),
      ...(ts.getTrailingCommentRanges(source, node.getEnd()) ?? []),
    ]) {
      comments.set(range.pos, range.end);
    }
    node.getChildren(file).filter((child) => child.kind !== ts.SyntaxKind.JSDoc).forEach(visit);
  };
  visit(file);
  let text = source;
  for (const [pos, end] of [...comments].sort(([a], [b]) => b - a)) text = text.slice(0, pos) + text.slice(end);
  return text.replace(/[ \t]+$/gm, "").replace(/\n{2,}/g, "\n").trimStart();
}

export function gzippedSize(path) {
  return gzipSync(withoutComments(readFileSync(path, "utf8")), { level: 9 }).length;
}
