package api

import (
	"encoding/json"
	"time"

	"github.com/tidemark/tidemark/models"
)

// What bodies may hold; object reads no other names.
var (
	pushMembers     = []string{"client_id", "edits", "atomic", "cursor", "collections", "limit", "min_version"}
	editMembers     = []string{"edit_id", "op", "collection", "id", "base_version", "base_edit_id", "force", "data"}
	presenceMembers = []string{"state", "ttl_s"}
	frameMembers    = []string{"push", "presence", "ref"}
	presentMembers  = append([]string{"client_id"}, presenceMembers...)
)

// decodePush reads the body of a push. Unlike encoding/json it refuses unknown
// names, names in another case, names that are there twice, null, and anything
// after the value. Documents are kept as they are, unjudged: what is wrong
// inside one is the result of its edit.
func decodePush(body []byte) (*models.PushRequest, error) {
	req := &models.PushRequest{}
	d := newDecoder(body)
	d.object(pushMembers, func(name string) {
		switch name {
		case "client_id":
			req.ClientID = d.text()
		case "edits":
			before := &models.Edit{}
			d.array(func(i int) {
				if i < models.MaxEdits {
					req.Edits = append(req.Edits, d.edit(before))
					before = &req.Edits[i]
				} else {
					d.tooMany()
				}
			})
		case "atomic":
			req.Atomic = d.boolean()
		case "cursor":
			cursor := d.text()
			req.Cursor = &cursor
		case "collections":
			d.array(func(i int) {
				req.Collections = append(req.Collections, d.text())
				if i == models.MaxCollections {
					d.wrong(models.CodeInvalidRequest, tooManyCollections)
				}
			})
		case "limit":
			req.Limit = int(d.integer(1, models.MaxPageChanges))
		case "min_version":
			req.MinVersion = d.integer(0, models.MaxVersion)
		}
	})
	if err := d.end(); err != nil {
		return nil, err
	}
	return req, validate(req)
}

// edit reads an edit, which may be like the one before.
func (d *decoder) edit(before *models.Edit) models.Edit {
	var e models.Edit
	d.object(editMembers, func(name string) {
		switch name {
		case "edit_id":
			e.EditID = d.text()
		case "op":
			e.Op = models.Op(d.textLike(string(before.Op)))
		case "collection":
			e.Collection = d.textLike(before.Collection)
		case "id":
			e.ID = d.text()
		case "base_version":
			version := d.integer(0, models.MaxVersion)
			e.BaseVersion = &version
		case "base_edit_id":
			e.BaseEditID = d.text()
		case "force":
			e.Force = d.boolean()
		case "data":
			e.Data = d.raw()
		}
	})
	return e
}

// decodePresence reads the body of a heartbeat. The state is kept as it is; what
// is wrong inside it is for the registry to say.
func decodePresence(body []byte) (req models.PresenceRequest, err error) {
	d := newDecoder(body)
	d.object(presenceMembers, func(name string) { d.presence(name, &req) })
	return req, d.end()
}

// presence reads a member of a heartbeat.
func (d *decoder) presence(name string, req *models.PresenceRequest) {
	const least, most = int64(models.MinPresenceTTL / time.Second), int64(models.MaxPresenceTTL / time.Second)
	switch name {
	case "state":
		state, _ := d.scalar("must be an object", '{')
		req.State = json.RawMessage(state)
	case "ttl_s":
		req.TTL = time.Duration(d.integer(least, most)) * time.Second
	}
}

// clientFrame is what a client sends on a socket: one of a push and a heartbeat.
type clientFrame struct {
	ref      string // "": none
	push     []byte // the body of a push, undecoded
	clientID string // of the heartbeat
	presence models.PresenceRequest
}

// verb names what f asks for, in the log.
func (f *clientFrame) verb() string {
	switch {
	case f.push != nil:
		return "push"
	case f.clientID != "":
		return "presence"
	}
	return "none"
}

// decodeFrame reads a frame of a client. With an error it returns the ref, if that was
// read.
func decodeFrame(text []byte) (f clientFrame, err error) {
	verbs := 0
	d := newDecoder(text)
	d.object(frameMembers, func(name string) {
		switch name {
		case "ref":
			if ref := d.text(); models.ValidName(ref) {
				f.ref = ref
			} else {
				d.wrong(models.CodeInvalidRequest, "must be a name: 1 to 128 letters, digits, dots, underscores, colons and dashes")
			}
		case "push":
			f.push = d.raw()
			verbs++
		case "presence":
			d.object(presentMembers, func(name string) {
				if name == "client_id" {
					f.clientID = d.text()
				} else {
					d.presence(name, &f.presence)
				}
			})
			verbs++
		}
	})
	switch err = d.end(); {
	case err != nil:
	case verbs != 1:
		err = invalid("", "must have one of push and presence")
	case f.push == nil && !models.ValidName(f.clientID):
		err = models.Errorf(models.CodeInvalidID, "A client_id %s.", nameForm)
	}
	return f, err
}

// decodeDocument returns the one JSON value in body, without the space around
// it. What the value is worth is for the engine to say.
func decodeDocument(body []byte) ([]byte, error) {
	d := newDecoder(body)
	document := d.raw()
	if err := d.end(); err != nil {
		return nil, err
	}
	return document, nil
}
