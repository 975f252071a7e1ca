// Package badinput sends the server what it should not be sent. The requests
// and what they must be answered with are testdata/bad-inputs.jsonl, one JSON
// object a line; no line may give a 5xx, a hang, or harm what comes after it.
package badinput
