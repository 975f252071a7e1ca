package syncer

import (
	"fmt"

	"github.com/tidemark/tidemark/models"
)

// edit is an edit that has been checked as far as that can be done without
// looking at any document.
type edit struct {
	models.Edit
	key     Key
	receipt receipt // without its outcome
	patch   *patch  // of OpPatch

	// precondition stands in place of a base in a single document's request.
	precondition *precondition
	// unnamed: the client gave no edit_id; there is nothing to retry by.
	unnamed bool

	// problem is why the edit is rejected, whatever is stored.
	problem *models.EditError
	// against is the rule that the edit breaks. Unlike a problem it may be younger than
	// the edit: one that was applied before is answered by its receipt, or its client
	// would take back what everybody else has.
	against *models.EditError
}

// newEdit checks one edit of a push.
func newEdit(e models.Edit) edit {
	n := edit{Edit: e, key: Key{e.Collection, e.ID}, receipt: newReceipt(&e)}
	if n.problem = checkName(e); n.problem == nil {
		n.problem = checkBase(e)
	}
	n.checkData()
	return n
}

func checkName(e models.Edit) *models.EditError {
	switch {
	case !models.ValidName(e.Collection):
		return &models.EditError{
			Code: models.CodeInvalidCollection, Pointer: "/collection",
			Detail: "a collection is named by " + models.NamePattern,
		}
	case !models.ValidName(e.ID):
		return &models.EditError{
			Code: models.CodeInvalidID, Pointer: "/id",
			Detail: "a document is named by " + models.NamePattern,
		}
	}
	return nil
}

// collectionForbidden comes before everything else that could be said, also before a
// receipt: the answer to a retry may show the document.
func collectionForbidden() *models.EditError {
	return &models.EditError{
		Code: models.CodeCollectionForbidden, Pointer: "/collection",
		Detail: "the token does not reach this collection",
	}
}

func checkBase(e models.Edit) *models.EditError {
	bases := 0
	for _, given := range []bool{e.BaseVersion != nil, e.BaseEditID != "", e.Force} {
		if given {
			bases++
		}
	}
	switch {
	case bases == 0:
		return &models.EditError{
			Code:   models.CodeBaseRequired,
			Detail: "say what the edit was made on: base_version (0 for a new document), base_edit_id or force",
		}
	case bases > 1:
		return &models.EditError{
			Code:   models.CodeInvalidEdit,
			Detail: "give one of base_version, base_edit_id and force",
		}
	case e.BaseEditID != "" && !models.ValidName(e.BaseEditID):
		return &models.EditError{
			Code: models.CodeInvalidEdit, Pointer: "/base_edit_id",
			Detail: "an edit is named by " + models.NamePattern,
		}
	}
	return nil
}

// checkData checks the document of a put or the patch of a patch.
func (e *edit) checkData() {
	if e.problem != nil {
		return
	}
	switch {
	case e.Op == models.OpDelete && e.Data != nil:
		e.problem = &models.EditError{Code: models.CodeInvalidEdit, Pointer: "/data", Detail: "a delete carries no data"}
	case e.Op == models.OpDelete:
	case e.Data == nil:
		e.problem = &models.EditError{
			Code: models.CodeInvalidDocument, Pointer: "/data",
			Detail: fmt.Sprintf("a %s carries data", e.Op),
		}
	default:
		e.problem = checkDocument(e.Data)
	}
	if e.problem != nil || e.Op != models.OpPatch {
		return
	}
	patch, err := parsePatch(e.Data)
	if err != nil {
		e.problem = syntaxError(err)
	}
	e.patch = patch
}

// want returns what must be read to decide e, if it is the only edit of its document.
func (e *edit) want() Want {
	w := Want{Key: e.key, Data: e.Op == models.OpPatch}
	switch {
	case e.BaseVersion != nil:
		w.Base = max(*e.BaseVersion, 0) // no other one means AnyVersion
	case e.Force: // a put or delete that never conflicts: nobody is shown the text
		w.Base = AnyVersion
	default:
		w.Data = true
	}
	return w
}
