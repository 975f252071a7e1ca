// Package web holds the files that the server shows to people and browsers: the
// demo page, the API reference and the browser client. They are plain files
// without a build step; what is vendored lies in vendor/, compressed.
package web

import "embed"

// Files are the files of this folder.
//
//go:embed *.html *.css *.js *.ts *.svg vendor/*.gz
var Files embed.FS
