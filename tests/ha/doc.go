// Package ha tests high availability for real: an etcd, three PostgreSQL servers under
// Patroni, HAProxy, pgbouncer and Prometheus, out of the system's packages and with the
// files of deploy/ha, and two nodes of Tidemark on them. While optimistic clients edit
// (package crowd), primaries are killed, frozen and cut off. What the clients were told
// is judged (package converge), step by step, and a table says what it came to.
//
// It takes minutes and programs that `make ha` fetches, so that plain go test leaves it
// out. All of it listens on loopback, lies in one temporary folder, and ends with the
// test process, however that ends.
package ha
