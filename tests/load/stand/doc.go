// Package stand starts what the bench measures and what it measures against:
// PostgreSQL, nodes of Tidemark, and processes that do the bare minimum. All of
// it listens on loopback and ends with the bench, however that ends.
package stand
