// Package crash ends the real server, by SIGKILL, at every point of package fault: in
// the middle of a push, of a row of the inbox, of a migration. It is started again, the
// push is sent again whole, and there is one effect.
//
// What such a crash leaves is what the process had given to the system: a power cut
// may leave less, see README.
package crash
