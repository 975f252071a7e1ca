package wakeup

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collectors are the metrics of s.
func (s *Sender) Collectors() []prometheus.Collector {
	counter := func(name, help string, labels prometheus.Labels, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(n.Load()) })
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	const (
		requests, requestsHelp = "tidemark_webhook_requests_total", "Requests to the webhook, by whether the receiver took them."
		dropped, droppedHelp   = "tidemark_webhook_dropped_total", "Changes that the webhook will not be told of, because too many spaces waited or the receiver is gone."
	)
	return []prometheus.Collector{
		counter(requests, requestsHelp, prometheus.Labels{"outcome": "delivered"}, &s.counts.delivered),
		counter(requests, requestsHelp, prometheus.Labels{"outcome": "failed"}, &s.counts.failed),
		counter("tidemark_webhook_dead_total", "Spaces that this node has given up to tell the webhook of: dead letters.", nil, &s.counts.dead),
		counter(dropped, droppedHelp, prometheus.Labels{"reason": "full"}, &s.counts.full),
		counter(dropped, droppedHelp, prometheus.Labels{"reason": "gone"}, &s.counts.unwanted),
		gauge("tidemark_webhook_waiting", "Spaces that wait on this node to be told of.", func() float64 {
			n, _ := s.waiting.figures()
			return float64(n)
		}),
		gauge("tidemark_webhook_oldest_seconds", "How long the one that waits for longest has waited; 0 if none does.", func() float64 {
			if _, oldest := s.waiting.figures(); !oldest.IsZero() {
				return time.Since(oldest).Seconds()
			}
			return 0
		}),
		gauge("tidemark_webhook_gone", "1 if the receiver has answered 410, so that nothing is sent until the server is started again.", func() float64 {
			if s.counts.gone.Load() {
				return 1
			}
			return 0
		}),
	}
}
