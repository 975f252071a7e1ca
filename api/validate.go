package api

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"

	"github.com/tidemark/tidemark/models"
)

// badForm is the sentence above a list of what is wrong where.
const badForm = "The request does not have the form that openapi.yaml describes; errors says where."

// nameForm says in words what models.NamePattern says.
const nameForm = "must have 1 to 128 letters, digits, dots, underscores, colons and dashes, and begin with a letter or digit"

// validation holds requests against the tags of their types.
var validation = newValidation()

func newValidation() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name
	})
	err := v.RegisterValidation("name", func(f validator.FieldLevel) bool {
		return models.ValidName(f.Field().String())
	})
	if err != nil {
		panic(err) // unreachable: the tag is not empty
	}
	return v
}

// validate returns what is wrong with the values of req.
func validate(req *models.PushRequest) error {
	if sound(req) {
		return nil
	}
	err := validation.Struct(req)
	var failures validator.ValidationErrors
	if !errors.As(err, &failures) {
		return err
	}
	failures = failures[:min(len(failures), maxFieldErrors)]
	fields := make([]models.FieldError, len(failures))
	for i, f := range failures {
		fields[i] = models.FieldError{Pointer: pointer(f.Namespace()), Detail: fault(f)}
		if f.Tag() == "unique" {
			fields[i].Pointer = repeated(req.Edits)
		}
	}
	return &models.Error{Code: models.CodeInvalidRequest, Detail: badForm, Fields: fields}
}

// sound says of most requests that keep the rules of their tags that they do. It is
// there because reading the tags of every edit costs as much as decoding it.
func sound(req *models.PushRequest) bool {
	if !models.ValidName(req.ClientID) || len(req.Edits) == 0 || len(req.Collections) > 0 ||
		req.Limit < 0 || req.Limit > models.MaxPageChanges {
		return false
	}
	seen := make(map[string]struct{}, len(req.Edits))
	for i := range req.Edits {
		e := &req.Edits[i]
		known := e.Op == models.OpPut || e.Op == models.OpPatch || e.Op == models.OpDelete
		if !known || !models.ValidName(e.EditID) || e.BaseVersion != nil && (*e.BaseVersion < 0 || *e.BaseVersion > models.MaxVersion) {
			return false
		}
		seen[e.EditID] = struct{}{}
	}
	return len(seen) == len(req.Edits)
}

// pointer turns the validator's PushRequest.edits[3].edit_id into /edits/3/edit_id.
// The names are ours, so none needs escaping.
func pointer(namespace string) string {
	_, path, _ := strings.Cut(namespace, ".")
	return "/" + strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(path)
}

// repeated points at the first edit_id that stands there a second time.
func repeated(edits []models.Edit) string {
	seen := make(map[string]bool, len(edits))
	for i := range edits {
		if seen[edits[i].EditID] {
			return fmt.Sprintf("/edits/%d/edit_id", i)
		}
		seen[edits[i].EditID] = true
	}
	return "/edits"
}

func fault(f validator.FieldError) string {
	switch f.Tag() {
	case "name":
		return nameForm
	case "oneof":
		return "must be one of: " + strings.ReplaceAll(f.Param(), " ", ", ")
	case "unique":
		return "must not be there twice"
	case "min":
		return "must be at least " + f.Param() + unit(f)
	case "max":
		return "must be at most " + f.Param() + unit(f)
	default:
		return "must satisfy " + f.Tag()
	}
}

func unit(f validator.FieldError) string {
	if f.Kind() == reflect.Slice {
		return " long"
	}
	return ""
}
