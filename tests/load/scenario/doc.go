// Package scenario holds what the bench measures: each [Case] is one figure of
// Tidemark, with the limit that runs beside it and how near it must come.
package scenario
