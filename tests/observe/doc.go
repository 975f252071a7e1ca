// Package observe tests what an operator sees of a server: its metrics, and what
// Prometheus and Grafana make of them.
package observe
