// Package web holds the files that the server shows to people and browsers: the
// demo page, the gallery of examples, the API reference and the browser client.
// They are plain files without a build step; what is vendored lies in vendor/,
// compressed.
package web

import "embed"

// Files are the files of this folder and of gallery/.
//
//go:embed *.html *.css *.js *.ts *.svg gallery/* vendor/*.gz
var Files embed.FS
