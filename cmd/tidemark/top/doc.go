// Package top is what `tidemark top` shows: what nodes count, as rates, and the spaces
// that change most, again and again.
//
// A look (look.go) asks every node for its metrics (reading.go, names.go) and makes a
// message of the answers; the screen (screen.go) keeps the newest two readings of each node, whose
// difference (change.go) is a frame (frame.go). Run shows frames on a terminal, Once
// prints one as text.
package top
