//go:build !faults

package fault

// Enabled tells whether points do anything.
const Enabled = false

// Point is where the process may be made to end.
func Point(string) {}
