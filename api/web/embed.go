// Package web holds the files that the server shows to people and browsers: the
// demo page, the gallery of examples, the API reference and the browser client.
// They are plain files without a build step, but for the client: tidemark.js is for
// people, and dist/ holds what `make client` makes of it for browsers. What is
// vendored lies in vendor/, compressed.
package web

import "embed"

// Files are the files of this folder, of gallery/ and of dist/.
//
//go:embed *.html *.css demo.js docs.js *.ts *.svg dist/* gallery/* vendor/*.gz
var Files embed.FS
