// Package crowd is simulated optimistic clients of one space that write the history
// that package converge judges.
package crowd
