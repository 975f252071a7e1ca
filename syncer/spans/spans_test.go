package spans_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/models"
	"github.com/tidemark/tidemark/syncer"
	"github.com/tidemark/tidemark/syncer/spans"
)

// span is what of a span the tests look at.
type span struct {
	Parent string // its name, "" if it was not recorded
	Linked int
	Failed string
}

// ended returns what has ended, by name and in the order of its end.
func ended(recorder *tracetest.SpanRecorder) map[string][]span {
	names := map[trace.SpanID]string{}
	for _, s := range recorder.Ended() {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	list := map[string][]span{}
	for _, s := range recorder.Ended() {
		failed := ""
		if s.Status().Code == codes.Error {
			failed = s.Status().Description
		}
		list[s.Name()] = append(list[s.Name()], span{names[s.Parent().SpanID()], len(s.Links()), failed})
	}
	return list
}

// Pushes that share a commit each have it in their trace; one nobody traces is beside
// them, and the store works under the first that somebody does.
func TestTracer_commit(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	tracer := spans.New(provider)
	request := func(name string) (context.Context, trace.Span) {
		return provider.Tracer("test").Start(t.Context(), name)
	}
	a, endA := request("a")
	b, endB := request("b")
	pushes := []syncer.Queued{tracer.Queue(t.Context()), tracer.Queue(a), tracer.Queue(b)}
	if pushes[0] != nil {
		t.Error("a push that nobody traces is queued")
	}
	under, end := tracer.Commit(context.Background(), pushes)
	_, statement := provider.Tracer("test").Start(under, "statement")
	statement.End()
	end(&models.Error{Code: models.CodeUnavailable, Detail: "hush"})
	endA.End()
	endB.End()

	// One whose client has left.
	c, endC := request("c")
	left := tracer.Queue(c)
	left.Leave()
	left.Leave()
	endC.End()

	// Nothing of what no request asked for.
	if under, end := tracer.Commit(t.Context(), []syncer.Queued{nil}); under != t.Context() {
		t.Error("a commit that nobody traces has a span")
	} else {
		end(nil)
	}
	if under, end := tracer.Read(t.Context()); under != t.Context() {
		t.Error("a read that nobody traces has a span")
	} else {
		end(nil)
	}
	want := map[string][]span{
		"a": {{}}, "b": {{}}, "c": {{}},
		spans.Queue:  {{Parent: "a"}, {Parent: "b"}, {Parent: "c"}},
		spans.Commit: {{Parent: "a", Failed: "unavailable"}, {Parent: "b", Linked: 1, Failed: "unavailable"}},
		"statement":  {{Parent: spans.Commit}},
	}
	if diff := cmp.Diff(want, ended(recorder)); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}
