package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tidemark/tidemark/models"
)

// maxDetailBytes is how much of a sentence clients are shown.
const maxDetailBytes = 1000

// answer is what the application says. A misspelled member must not mean that all is
// well, so it is read strictly.
type answer struct {
	Rejected []rejection `json:"rejected"`
}

type rejection struct {
	EditID  string `json:"edit_id"`
	Detail  string `json:"detail"`
	Pointer string `json:"pointer"` // into the edit
}

// readAnswer returns why edits are refused.
func readAnswer(text []byte, edits []models.Edit) (map[string]*models.EditError, error) {
	var a answer
	if err := json.Unmarshal(text, &a, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	if a.Rejected == nil {
		return nil, errors.New("the answer has no list named rejected")
	}
	refused := make(map[string]*models.EditError, len(a.Rejected))
	for i, r := range a.Rejected {
		switch {
		case !slices.ContainsFunc(edits, func(e models.Edit) bool { return e.EditID == r.EditID }):
			return nil, fmt.Errorf("rejected[%d] names no edit that was asked about", i)
		case refused[r.EditID] != nil:
			return nil, fmt.Errorf("rejected[%d] names an edit again", i)
		case r.Pointer != "" && r.Pointer[0] != '/' || len(r.Pointer) > models.MaxKeyBytes:
			return nil, fmt.Errorf("rejected[%d].pointer is no JSON Pointer of at most %d bytes", i, models.MaxKeyBytes)
		}
		detail := models.Cut(strings.TrimSpace(r.Detail), maxDetailBytes)
		if detail == "" {
			detail = "the application does not allow this edit"
		}
		refused[r.EditID] = &models.EditError{Code: models.CodeValidationFailed, Detail: detail, Pointer: r.Pointer}
	}
	return refused, nil
}
