// Package converge judges what many clients of one space have done and seen: that
// no edit was lost or took effect twice, that nobody missed a change, and that in
// the end all hold the same. It is the second half of the convergence test; the
// first, package crowd, are simulated clients that write such a history: in the test
// files over a bad network, and in tests/ha over a database that fails.
//
// A history is a file of JSON lines, one [Event] each. It is written while the
// clients run and kept if the verdict is bad; `go run ./tests/check FILE` judges
// it again.
package converge
