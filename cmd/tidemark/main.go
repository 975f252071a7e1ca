// Command tidemark is the server and what goes with it: serve, migrate, epoch, verify,
// gc, space, stats, export, import, copy, backup, restore, webhook, key, revoke, audit,
// token, config, top, healthcheck and version. Each is a file
// of this folder; settings.go is the one place that says what can be set.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }
