package contract

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/tidemark/tidemark/api"
)

func load(t *testing.T) *Spec {
	t.Helper()
	spec, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestSpec_operations holds every operation to the rules by which generators
// make names and readers find examples. That examples fit their schemas is
// checked by Load.
func TestSpec_operations(t *testing.T) {
	t.Parallel()
	spec := load(t)
	seen := make(map[string]bool)
	for _, op := range spec.Operations() {
		if !regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)+$`).MatchString(op.ID) || seen[op.ID] {
			t.Errorf("%s %s: operationId %q is not camelCase, or not the only one", op.Method, op.Path, op.ID)
		}
		seen[op.ID] = true
		if len(op.Spec.Tags) != 1 || spec.doc.Tags.Get(op.Spec.Tags[0]) == nil {
			t.Errorf("%s: tags are %v, want one that is described", op.ID, op.Spec.Tags)
		}
		if op.Spec.Summary == "" || op.Spec.Description == "" {
			t.Errorf("%s: no summary or description", op.ID)
		}
		if body := op.Spec.RequestBody; body != nil {
			wantExamples(t, op.ID+" request", body.Value.Content)
		}
		if op.Spec.Responses.Default() == nil {
			t.Errorf("%s: no default answer", op.ID)
		}
		for status, response := range op.Spec.Responses.Map() {
			wantExamples(t, op.ID+" "+status, response.Value.Content)
			wantProblem(t, op.ID, status, response.Value.Content)
		}
	}
}

func wantExamples(t *testing.T, where string, content openapi3.Content) {
	t.Helper()
	for kind, media := range content {
		if len(media.Examples) == 0 {
			t.Errorf("%s %s: no example", where, kind)
		}
	}
}

func wantProblem(t *testing.T, id, status string, content openapi3.Content) {
	t.Helper()
	if number, err := strconv.Atoi(status); err == nil && number < 400 {
		return
	}
	problem := content["application/problem+json"]
	if problem == nil || problem.Schema.Ref != "#/components/schemas/Problem" || len(content) != 1 {
		t.Errorf("%s %s: an error that is not a Problem", id, status)
	}
}

// TestSpec_examplesShowTheirCodes keeps examples of errors in step with the list.
func TestSpec_examplesShowTheirCodes(t *testing.T) {
	t.Parallel()
	spec := load(t)
	for name, response := range spec.doc.Components.Responses {
		media := response.Value.Content["application/problem+json"]
		if media == nil {
			continue
		}
		for _, example := range media.Examples {
			body := example.Value.Value.(map[string]any)
			code := body["code"].(string)
			if got, want := body["status"], float64(spec.Problems[code]); got != want || body["type"] != "/problems/"+code {
				t.Errorf("%s: the example of %q has status %v and type %v, want status %v", name, code, got, body["type"], want)
			}
		}
	}
}

// TestSpec_names keeps component names unique across kinds whatever their case,
// and clear of the names of platforms: generators make types of all of them.
func TestSpec_names(t *testing.T) {
	t.Parallel()
	components := load(t).doc.Components
	var names []string
	add := func(name string) {
		lower := strings.ToLower(name)
		if slices.Contains(names, lower) {
			t.Errorf("two components are named %q", name)
		}
		names = append(names, lower)
	}
	for name := range components.Schemas {
		add(name)
		if slices.Contains([]string{"Document", "Event", "Error", "Record", "Response", "Request", "Object"}, name) {
			t.Errorf("schema %q has the name of a platform's type", name)
		}
	}
	for name := range components.Responses {
		add(name)
	}
	for name := range components.Parameters {
		add(name)
	}
	for name := range components.Headers {
		add(name)
	}
	for name := range components.SecuritySchemes {
		add(name)
	}
}

// TestRoutes: what the server answers is described, what is described it
// answers, and both agree on who needs a token.
func TestRoutes(t *testing.T) {
	t.Parallel()
	served := api.Routes()
	var described []api.Route
	for _, op := range load(t).Operations() {
		described = append(described, api.Route{Method: op.Method, Path: op.Path, Public: op.Public})
	}
	order := func(a, b api.Route) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) }
	slices.SortFunc(served, order)
	slices.SortFunc(described, order)
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("openapi.yaml and api.Routes differ (-described +served):\n%s", diff)
	}
}

// TestCodes_everyConstantIsDescribed reads the codes out of the source, so that
// a new one can't be forgotten. The other direction, and the statuses, are
// asked of the running server in TestTour.
func TestCodes_everyConstantIsDescribed(t *testing.T) {
	t.Parallel()
	spec := load(t)
	inSource := constants(t, "../../models/errors.go", "Code")
	for code := range inSource {
		if spec.Problems[code] == 0 && !spec.EditErrors[code] {
			t.Errorf("models has code %q, openapi.yaml does not list it", code)
		}
	}
	for code := range spec.Problems {
		if !inSource[code] {
			t.Errorf("openapi.yaml lists code %q in Problem, models does not have it", code)
		}
	}
	for code := range spec.EditErrors {
		if !inSource[code] {
			t.Errorf("openapi.yaml lists code %q in EditError, models does not have it", code)
		}
	}
}

// constants returns the values of a file's string constants of one type.
func constants(t *testing.T, file, typeName string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]bool)
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typeName {
			return false
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		values[value] = true
		return false
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", file, typeName)
	}
	return values
}
