// Package measure is the arithmetic of the bench and what it reads of processes:
// quantiles, medians, ratios, processor time and memory.
package measure
