// Package api is Tidemark over HTTP: it binds requests, asks the engine once and
// writes what it answers, as openapi.yaml says. It decides nothing about
// documents.
//
// Rules of this package:
//
//   - A handler is bind, one engine call, write. It returns errors; problems.go
//     is the one place that turns them into answers, by one table.
//   - routes.go is the one list of what is served. A route needs a token unless
//     the list says that it is public, and so does every path that is no route.
//   - Everything a request may bring is bounded: headers, URL, token, body (after
//     inflation), the time a body may take, edits, waiting.
//   - Nothing is ignored: a parameter or member that is unknown, repeated or of
//     another type is an error, so that a typo never silently means something else.
//
// echo stays inside this package.
package api
