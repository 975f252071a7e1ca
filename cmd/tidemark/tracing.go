package main

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/exaring/otelpgx"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/spans"
	"github.com/tidemark/tidemark/syncer/store"
)

// flushTimeout bounds how long the end waits for the last spans to be sent.
const flushTimeout = 5 * time.Second

// tracing is nil unless an endpoint is set: then nothing is wrapped, and nothing costs
// anything. Its methods are made for nil, too.
type tracing struct{ provider *sdktrace.TracerProvider }

// openTracing reads OpenTelemetry's own variables. Without an endpoint in them there is
// no tracing: the exporter's default would be a port on this machine where most have
// nothing.
func openTracing(ctx context.Context, log *slog.Logger) (*tracing, error) {
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if endpoint == "" || os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"))
	if protocol != "" && protocol != "http/protobuf" {
		return nil, usagef("OTEL_EXPORTER_OTLP_PROTOCOL is %q; traces are sent by http/protobuf only (a collector has it on port 4318)", protocol)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.WarnContext(ctx, "traces not sent", "error", err)
	}))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, usagef("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	// What the environment says comes later, so it wins.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "tidemark"), attribute.String("service.version", currentVersion())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, usagef("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	// Sampled as the parent says, and all that have none, unless OTEL_TRACES_SAMPLER
	// says otherwise: the provider reads that itself.
	return &tracing{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))}, nil
}

// wrap puts a span around each request but those of probes and of metrics.
func (t *tracing) wrap(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return otelhttp.NewHandler(next, "request",
		otelhttp.WithTracerProvider(t.provider),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()), // Prometheus has them
		otelhttp.WithFilter(func(r *http.Request) bool {
			return r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && r.URL.Path != "/metrics"
		}),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
			if r.Pattern == "" { // not found yet; names must be few
				return r.Method
			}
			return r.Method + " " + r.Pattern
		}),
	)
}

// engine returns what the engine tells of itself to.
func (t *tracing) engine() syncer.Tracer {
	if t == nil {
		return nil
	}
	return spans.New(t.provider)
}

// statements returns what the store tells of its statements to. Their parameters, in
// which documents are, are left out.
func (t *tracing) statements() store.Tracer {
	if t == nil {
		return nil
	}
	return otelpgx.NewTracer(
		otelpgx.WithTracerProvider(t.provider),
		otelpgx.WithMeterProvider(noop.NewMeterProvider()),
	)
}

// traceID returns what finds the trace of a request for its line in the log.
func (t *tracing) traceID() func(context.Context) string {
	if t == nil {
		return nil
	}
	return func(ctx context.Context) string {
		if is := trace.SpanContextFromContext(ctx); is.HasTraceID() {
			return is.TraceID().String()
		}
		return ""
	}
}

// close sends what is left, for a while.
func (t *tracing) close(log *slog.Logger) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		log.WarnContext(ctx, "the last traces were not sent", "error", err)
	}
}
