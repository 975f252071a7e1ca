// Package harness runs the real tidemark binary for tests and speaks to it
// over HTTP. It imports nothing of the server, so that what is tested is the
// wire: a renamed member breaks these tests as it would break a client.
//
//	func TestPush_twice(t *testing.T) {
//		harness.Each(t, func(t *testing.T, store harness.Store) {
//			server := harness.Start(t, harness.Options{Store: store})
//			client := server.Client("")
//			answer, err := client.Push(t.Context(), "team", harness.Push{…})
//		})
//	}
//
// The binary is built once per test process, with the race detector when the
// tests have it. What the server logs is shown when the test fails; a panic or
// a data race in the log fails it.
package harness
