// Package tests holds what is tested from outside: the layering of the code
// and the wire. This file is the layering. It runs with plain go test, so
// nobody needs a linter to hear that an import is in the wrong place.
package tests

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/tidemark/tidemark"

// layering says which packages must not reach what, directly or through
// others, and why. A key that ends in /... stands for the packages below it as
// well; "third party" is everything outside the standard library and this module.
var layering = map[string]map[string]string{
	"models/...": {
		"third party":  "models are the words that all layers share: they depend on nobody",
		module + "/":   "models are the innermost layer",
		"net/http":     "models know nothing of the wire's transport",
		"database/sql": "models know nothing of the database's driver",
	},
	"syncer": {
		"gorm.io/":                   "the engine speaks to a Store; which library carries it is the store's affair",
		"github.com/jackc/pgx":       "the engine speaks to a Store, not to a database",
		"modernc.org/sqlite":         "the engine speaks to a Store, not to a database",
		"github.com/labstack/echo":   "the engine does not know that HTTP exists",
		"net/http":                   "the engine does not know that HTTP exists",
		module + "/api":              "api calls syncer, never the other way",
		module + "/syncer/store":     "adapters hang off the engine; it sees the interface",
		module + "/syncer/broker":    "adapters hang off the engine; it sees the interface",
		"github.com/nats-io/":        "the engine speaks to a Broker; what carries it is the broker's affair",
		"github.com/redis/":          "the engine speaks to a Broker; what carries it is the broker's affair",
		"github.com/santhosh-tekuri": "the engine asks Rules; what documents are held against is their affair",
		module + "/migrations":       "the schema belongs to the store",
		"github.com/alecthomas/kong": "settings are read in cmd and passed in",
		// Its collectors are plain atomics: what is counted by them needs no second form.
		"github.com/prometheus/client_golang/prometheus/promhttp": "the engine counts; who shows the numbers is api's affair",
		"github.com/golang-jwt/":                                  "the engine is told who is asking",
		"go.opentelemetry.io/":                                    "the engine speaks to a Tracer; what shows spans is its affair",
	},
	"syncer/spans": {
		module + "/api":          "spans of the engine know nothing of HTTP",
		"net/http":               "spans of the engine know nothing of HTTP",
		module + "/syncer/store": "spans are of the engine; pgx tells of its statements itself",
	},
	"syncer/presence": {
		"database/sql":             "presence is in memory only: a heartbeat must not cost a statement",
		"gorm.io/":                 "presence is in memory only",
		"github.com/jackc/pgx":     "presence is in memory only",
		"modernc.org/sqlite":       "presence is in memory only",
		module + "/migrations":     "presence is in memory only",
		module + "/syncer/store":   "presence is in memory only",
		module + "/syncer/broker":  "presence is told to others through an interface; which broker carries it is cmd's affair",
		module + "/api":            "presence knows nothing of HTTP",
		"net/http":                 "presence knows nothing of HTTP",
		"github.com/labstack/echo": "presence knows nothing of HTTP",
		"github.com/golang-jwt/":   "presence is told who is asking",
	},
	"syncer/store/...": {
		module + "/api":            "a store knows nothing of HTTP",
		"github.com/labstack/echo": "a store knows nothing of HTTP",
	},
	"syncer/archive": {
		module + "/api":            "an archive moves rows between stores, whoever asks for it",
		module + "/syncer/broker":  "an archive moves rows between stores, while nobody listens",
		"github.com/labstack/echo": "an archive is a file",
	},
	"syncer/broker/...": {
		module + "/api":            "a broker knows nothing of HTTP",
		"github.com/labstack/echo": "a broker knows nothing of HTTP",
		module + "/syncer/store":   "a broker carries messages and reads no data",
		"gorm.io/":                 "a broker carries messages and reads no data",
	},
	"syncer/rules/...": {
		module + "/api":            "rules are asked by the engine, whoever calls that",
		"github.com/labstack/echo": "rules are asked by the engine, whoever calls that",
		module + "/syncer/store":   "rules see what is proposed and never what is stored",
		module + "/syncer/broker":  "rules see what is proposed and never what is stored",
		"gorm.io/":                 "rules see what is proposed and never what is stored",
	},
	"syncer/hook": {
		module + "/": "it signs and sends what it is given, and knows nothing of what that says",
	},
	"syncer/wakeup": {
		module + "/api":           "it is told of commits, whoever asked for them",
		module + "/syncer/store":  "it keeps what was not taken in a Ledger; which database that is, is cmd's affair",
		module + "/syncer/broker": "the node that commits tells, so nobody has to be asked",
		module + "/syncer/rules":  "what may be stored is decided when a change is told",
		"gorm.io/":                "it keeps what was not taken in a Ledger",
	},
	"api/...": {
		module + "/syncer/store":  "api calls the engine; a handler that reached the database would pass its checks by",
		module + "/syncer/broker": "api calls the engine",
		module + "/migrations":    "api calls the engine",
		"gorm.io/":                "api calls the engine",
		"github.com/jackc/pgx":    "api calls the engine",
		"modernc.org/sqlite":      "api calls the engine",
		module + "/cmd":           "cmd wires api, never the other way",
	},
	"api/conformance": {
		module + "/":  "it is written from openapi.yaml: what it shared with the server, the server could get wrong unseen",
		"third party": "it needs HTTP and JSON",
	},
	"migrations/...": {
		module + "/":  "migrations are files; they depend on no code of today",
		"third party": "migrations are files; the store carries them out",
	},
}

// onlyIn keeps a library inside one folder, so that replacing it is that
// folder's change alone.
var onlyIn = map[string][]string{
	"github.com/labstack/echo":          {"api"},
	"github.com/coder/websocket":        {"api"},
	"github.com/golang-jwt/jwt":         {"api/auth"},
	"github.com/MicahParks/":            {"api/auth"},
	"github.com/alecthomas/kong":        {"cmd"},
	"charm.land/":                       {"cmd/tidemark/top"},
	"gorm.io/":                          {"syncer/store"},
	"github.com/jackc/pgx":              {"syncer/store", "syncer/broker"},
	"github.com/jackc/pglogrepl":        {"syncer/broker/logical"},
	"github.com/nats-io/nats.go":        {"syncer/broker/nats"},
	"github.com/nats-io/nats-server":    {"tests"},
	"github.com/redis/go-redis":         {"syncer/broker/redis"},
	"github.com/alicebob/miniredis":     {"tests"},
	"modernc.org/sqlite":                {"syncer/store"},
	"github.com/santhosh-tekuri/":       {"syncer/rules/schema"},
	"github.com/golang-migrate/migrate": {"syncer/store"},
	"go.opentelemetry.io/":              {"cmd", "syncer/spans", "tests"},
	"github.com/exaring/otelpgx":        {"cmd"},
}

// vague are names that say nothing about what a package holds and so collect everything.
var vague = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared", "lib", "pkg"}

type goPackage struct {
	ImportPath string
	Dir        string
	Doc        string
	GoFiles    []string
	Imports    []string
	Standard   bool
}

// folder is the package's place in the module: "" for the module's root.
func (p goPackage) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

var listed = sync.OnceValues(func() ([]goPackage, error) {
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Doc,GoFiles,Imports,Standard", module+"/...").Output()
	if err != nil {
		return nil, err
	}
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
})

func packages(t *testing.T) (ours []goPackage, standard map[string]bool) {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	standard = map[string]bool{}
	for _, p := range all {
		standard[p.ImportPath] = p.Standard
		if inModule(p.ImportPath) {
			ours = append(ours, p)
		}
	}
	return ours, standard
}

func inModule(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

func TestArchitecture_layering(t *testing.T) {
	t.Parallel()
	ours, standard := packages(t)
	for pattern, forbidden := range layering {
		for _, p := range ours {
			if !matches(pattern, p.folder()) {
				continue
			}
			for _, dependency := range reached(p) {
				for prefix, reason := range forbidden {
					if isForbidden(prefix, dependency, standard) && !belongsTo(pattern, dependency) {
						t.Errorf("%s reaches %s: %s", p.ImportPath, dependency, reason)
					}
				}
			}
		}
	}
}

// opaque are libraries that are judged by what they are, not by what they bring along:
// the registry of Prometheus knows the media types of net/http, and serves nothing.
const opaque = "github.com/prometheus/client_golang/"

// reached returns what p imports, directly or through others, but not through what is
// opaque.
func reached(p goPackage) []string {
	all, _ := listed() // packages has looked at the error
	imports := make(map[string][]string, len(all))
	for _, other := range all {
		imports[other.ImportPath] = other.Imports
	}
	seen := map[string]bool{}
	var walk func(importPath string)
	walk = func(importPath string) {
		for _, next := range imports[importPath] {
			if !seen[next] && next != "C" {
				seen[next] = true
				if !strings.HasPrefix(next, opaque) {
					walk(next)
				}
			}
		}
	}
	walk(p.ImportPath)
	return slices.Collect(maps.Keys(seen))
}

func matches(pattern, folder string) bool {
	below, recursive := strings.CutSuffix(pattern, "/...")
	return folder == below || recursive && strings.HasPrefix(folder, below+"/")
}

// belongsTo reports whether the dependency is of the layer itself.
func belongsTo(pattern, dependency string) bool {
	return inModule(dependency) && matches(pattern, goPackage{ImportPath: dependency}.folder())
}

func isForbidden(prefix, dependency string, standard map[string]bool) bool {
	if prefix == "third party" {
		return !standard[dependency] && !inModule(dependency)
	}
	if strings.HasSuffix(prefix, "/") {
		return strings.HasPrefix(dependency, prefix)
	}
	return dependency == prefix || strings.HasPrefix(dependency, prefix+"/")
}

func TestArchitecture_librariesStayInOnePlace(t *testing.T) {
	t.Parallel()
	ours, _ := packages(t)
	for _, p := range ours {
		if matches("tests/...", p.folder()) {
			continue
		}
		for _, imported := range p.Imports {
			for prefix, allowed := range onlyIn {
				inside := slices.ContainsFunc(allowed, func(folder string) bool { return matches(folder+"/...", p.folder()) })
				if strings.HasPrefix(imported, prefix) && !inside {
					t.Errorf("%s imports %s, which belongs in %s", p.ImportPath, imported, strings.Join(allowed, ", "))
				}
			}
		}
	}
}

func TestArchitecture_everyPackageHasADocAndAName(t *testing.T) {
	t.Parallel()
	ours, _ := packages(t)
	for _, p := range ours {
		if p.Doc == "" && len(p.GoFiles) > 0 { // go list does not see the doc of tests alone
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		for element := range strings.SplitSeq(p.folder(), "/") {
			if slices.Contains(vague, element) {
				t.Errorf("%s: %q says nothing about what is inside", p.ImportPath, element)
			}
		}
	}
}

// behindGuard is what a goroutine may begin with: each catches a panic and counts it.
var behindGuard = regexp.MustCompile(`\bguard\.(Do|Call|Keep)\(|\bretry\.Forever\(|\be\.keep\(|\bc\.do\(`)

// TestArchitecture_goroutinesCatchPanics: a panic that nobody catches ends the process,
// with the pushes of everybody.
func TestArchitecture_goroutinesCatchPanics(t *testing.T) {
	t.Parallel()
	ours, _ := packages(t)
	begun := 0
	for _, p := range ours {
		folder := p.folder()
		// No server runs the suites, and the checks of `tidemark conformance`.
		if slices.Contains([]string{"syncer/store/storetest", "syncer/broker/brokertest", "api/conformance"}, folder) || !matches("syncer/...", folder) && !matches("api/...", folder) && !matches("cmd/...", folder) {
			continue
		}
		for _, file := range p.GoFiles {
			begun += eachGoroutine(t, filepath.Join(p.Dir, file), func(at token.Position, text string) {
				if !behindGuard.MatchString(text) {
					t.Errorf("%s: a goroutine begins without a guard:\n%s", at, text)
				}
			})
		}
	}
	if begun < 15 {
		t.Errorf("only %d goroutines were found", begun)
	}
}

// eachGoroutine calls found with the place and the text of whatever begins a goroutine
// in a file, and returns how many there are.
func eachGoroutine(t *testing.T, file string, found func(at token.Position, text string)) (n int) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		begins := false
		switch node := node.(type) {
		case *ast.GoStmt:
			begins = true
		case *ast.CallExpr:
			called, ok := node.Fun.(*ast.SelectorExpr)
			begins = ok && (called.Sel.Name == "Go" || called.Sel.Name == "AfterFunc")
		}
		if begins {
			n++
			found(files.Position(node.Pos()), string(source[files.Position(node.Pos()).Offset:files.Position(node.End()).Offset]))
		}
		return true
	})
	return n
}

// TestArchitecture_dependenciesHaveReasons holds go.mod against ARCHITECTURE.md:
// whoever adds a library says there what for.
func TestArchitecture_dependenciesHaveReasons(t *testing.T) {
	t.Parallel()
	architecture := readFile(t, "ARCHITECTURE.md")
	var goMod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &goMod); err != nil {
		t.Fatal(err)
	}
	for _, dependency := range goMod.Require {
		short := majorSuffix.ReplaceAllString(strings.TrimPrefix(dependency.Path, "github.com/"), "")
		if !dependency.Indirect && !strings.Contains(architecture, short) {
			t.Errorf("ARCHITECTURE.md does not say what %s is for", dependency.Path)
		}
	}
}

var majorSuffix = regexp.MustCompile(`/v[0-9]+$`)

// TestREADME_settings holds the table of settings in README against the
// options of `tidemark serve`, in both directions.
func TestREADME_settings(t *testing.T) {
	t.Parallel()
	documented := map[string]string{} // variable to its row
	for line := range strings.SplitSeq(readFile(t, "README.md"), "\n") {
		if name := variable.FindString(line); name != "" && strings.HasPrefix(strings.TrimSpace(line), "|") {
			documented[name] = line
		}
	}
	settings := settings(t)
	if len(settings) == 0 {
		t.Fatal("no field in cmd/tidemark has an env tag")
	}
	for name, setting := range settings {
		row, ok := documented[name]
		if !ok {
			t.Errorf("README's table of settings lacks %s", name)
			continue
		}
		if !strings.Contains(row, "--"+setting.flag) {
			t.Errorf("README's row of %s does not name --%s", name, setting.flag)
		}
		if setting.fallback != "" && !strings.Contains(row, "`"+setting.fallback+"`") {
			t.Errorf("README's row of %s does not name the default `%s`", name, setting.fallback)
		}
	}
	for name := range documented {
		if _, ok := settings[name]; !ok && !strings.HasPrefix(name, "TIDEMARK_TEST_") {
			t.Errorf("README documents %s, which cmd/tidemark does not read", name)
		}
	}
}

var variable = regexp.MustCompile(`TIDEMARK_[A-Z_]+`)

type setting struct{ flag, fallback string }

// settings reads the struct tags in cmd/tidemark. It parses the source because
// a main package cannot be imported.
func settings(t *testing.T) map[string]setting {
	t.Helper()
	files, err := filepath.Glob("../cmd/tidemark/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]setting{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			field, ok := node.(*ast.Field)
			if !ok || field.Tag == nil || len(field.Names) != 1 {
				return true
			}
			text, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				return true
			}
			tag := reflect.StructTag(text)
			if name := tag.Get("env"); variable.MatchString(name) {
				flag := tag.Get("name")
				if flag == "" {
					flag = kebab(field.Names[0].Name)
				}
				found[name] = setting{flag, tag.Get("default")}
			}
			return true
		})
	}
	return found
}

// kebab spells a field's name as kong does: DatabaseURL is database-url.
func kebab(name string) string {
	parted := wordStart.ReplaceAllString(name, "${1}${3}-${2}${4}")
	return strings.ToLower(parted)
}

var wordStart = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(path.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
