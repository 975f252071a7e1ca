package top

// What nodes count, by the names under which /metrics has it. A node of another version
// may lack some: they are shown as unknown.
const (
	buildInfo = "tidemark_build_info"

	results      = "tidemark_push_results_total" // by outcome
	pushTime     = "tidemark_push_seconds"
	waiting      = "tidemark_pushes_waiting"
	requests     = "tidemark_requests_total" // by route and class of the status
	pulls        = requests + "{/v1/spaces/{space}/changes}"
	failures     = requests + "{5xx}"
	unchanged    = "tidemark_not_modified_total"
	pages        = "tidemark_pages_total" // by source
	pagesOfTails = pages + "{tail}"
	visibility   = "tidemark_visibility_seconds"
	streams      = "tidemark_streams"

	cpuTime = "process_cpu_seconds_total"
	memory  = "process_resident_memory_bytes"
)

// outcomes of edits, in the order in which they are shown.
var outcomes = []string{"applied", "merged", "conflict", "rejected", "skipped", "replayed"}

// proofs are counters that stay 0 as long as the server keeps what it promises.
var proofs = []struct{ name, metric string }{
	{"gaps", "tidemark_feed_gaps_total"},
	{"regressions", "tidemark_head_regressions_total"},
	{"faulty spaces", "tidemark_verified_faulty_total"},
	{"panics", "tidemark_panics_total"},
}
