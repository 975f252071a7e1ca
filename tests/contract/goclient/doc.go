// Package goclient is the Go client that oapi-codegen makes of openapi.yaml,
// compiled and used against the real server: the proof that a developer gets a
// working client from the description alone. It is nobody's import.
package goclient
