package harness

import "golang.org/x/sys/unix"

// LimitFiles lets the server write to no file beyond so many bytes from its
// start, which to a program is much like a full disk. 0 takes the limit away.
func (s *Server) LimitFiles(bytes uint64) {
	s.t.Helper()
	limit := unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}
	if bytes == 0 {
		limit.Cur = unix.RLIM_INFINITY
	}
	for _, node := range s.all() {
		node.mu.Lock()
		defer node.mu.Unlock()
		if err := unix.Prlimit(node.process.PID(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
			s.t.Fatalf("limit the files of tidemark: %v", err)
		}
	}
}
