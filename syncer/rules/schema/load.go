package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/tidemark/tidemark/models"
)

// root is where the compiler believes the folder to be.
const root = "file:///"

// Load reads and compiles the schemas in a folder: `<collection>.json` for each
// collection. What several have in common lies in folders below it, and is referred to
// by its path ("$ref": "common/address.json"). Names that begin with a dot are passed
// over, because Kubernetes mounts such. Anything else that is no schema is an error: a
// misspelled name must not mean that a collection has no rules. Nothing is read from
// outside of the folder, and nothing from the network.
func Load(folder string) (*Schemas, error) {
	inside, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("the folder of schemas: %w", err)
	}
	defer func() { _ = inside.Close() }() // it was only read
	files, err := fs.ReadDir(inside.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("the folder of schemas: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat() // who writes a format means it
	compiler.UseRegexpEngine(compilePattern)
	compiler.UseLoader(loader{inside.FS()})

	s := &Schemas{of: make(map[string]*jsonschema.Schema)}
	for _, file := range files {
		name := file.Name()
		if strings.HasPrefix(name, ".") || isFolder(inside, name) {
			continue
		}
		collection, isJSON := strings.CutSuffix(name, ".json")
		if !isJSON || !models.ValidName(collection) {
			return nil, fmt.Errorf("%s in the folder of schemas is not named <collection>.json", name)
		}
		if s.of[collection], err = compile(compiler, name); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
	}
	if len(s.of) == 0 {
		return nil, fmt.Errorf("there is no schema in the folder %s", folder)
	}
	return s, nil
}

func isFolder(inside *os.Root, name string) bool {
	info, err := inside.Stat(name) // not that of a link to a folder
	return err == nil && info.IsDir()
}

func compile(compiler *jsonschema.Compiler, name string) (*jsonschema.Schema, error) {
	schema, err := compiler.Compile(root + name)
	if err != nil {
		return nil, err
	}
	// A schema that refers to itself without going deeper fits nothing, and is found
	// by trying only.
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(map[string]any{}); errors.As(err, &invalid) {
		for _, v := range collect(nil, invalid) {
			if cycle, ok := v.kind.(*kind.RefCycle); ok {
				return nil, errors.New(cycle.LocalizedString(english))
			}
		}
	}
	return schema, nil
}

// loader reads files below root for the compiler.
type loader struct{ files fs.FS }

// Load implements jsonschema.URLLoader.
func (l loader) Load(address string) (any, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" || u.Host != "" || u.RawQuery != "" {
		return nil, errors.New("it is not a file of the folder, and nothing else is read")
	}
	text, err := fs.ReadFile(l.files, strings.TrimPrefix(u.Path, "/"))
	if err != nil {
		return nil, err
	}
	// By the strict reader first: of a keyword that is there twice one would be lost.
	if err := jsontext.NewDecoder(bytes.NewReader(text)).SkipValue(); err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}
