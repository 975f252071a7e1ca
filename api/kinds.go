package api

import (
	"net/http"

	"github.com/tidemark/tidemark/models"
)

// A kind is what there is to say about a code: how it is answered, and what the
// page /problems/{code} tells. The texts are for whoever writes a client.
type kind struct {
	status  int // 0: only ever the code of one edit's result
	title   string
	meaning string
	remedy  string
}

// kinds is the one place where a code meets a status.
var kinds = map[models.Code]kind{
	models.CodeMalformedJSON: {
		http.StatusBadRequest, "Malformed JSON",
		"The body is not one JSON value in UTF-8: it is empty, cut off, followed by something, begins with a byte order mark, or is nested deeper than 10,000.",
		"Send exactly one JSON value, encoded as UTF-8. Sending the same again won't help.",
	},
	models.CodeInvalidRequest: {
		http.StatusBadRequest, "Invalid request",
		"The request does not have the form that openapi.yaml describes: a member, a parameter or a header has the wrong type, form or range, is missing, or is there twice; or a parameter is unknown.",
		"errors[] names each place. Sending the same again won't help.",
	},
	models.CodeUnknownField: {
		http.StatusBadRequest, "Unknown field",
		"The body has a member that the operation does not know. Upper and lower case are different.",
		"errors[] names each. Correct the spelling or leave it out.",
	},
	models.CodeDuplicateKey: {
		http.StatusBadRequest, "Duplicate key",
		"An object has the same name twice. What that means is up to whoever reads it, so it is refused.",
		"Send each name once.",
	},
	models.CodeInvalidCursor: {
		http.StatusBadRequest, "Invalid cursor",
		"The cursor is damaged, or it is of another space.",
		"Use the cursor of the last page unchanged, and only for its own space. If it is lost, pull again without a cursor.",
	},
	models.CodeInvalidSpace: {
		http.StatusBadRequest, "Invalid space",
		"The name of the space does not have the form of one: " + models.SpacePattern,
		"Choose another name.",
	},
	models.CodeInvalidCollection: {
		http.StatusBadRequest, "Invalid collection",
		"The name of the collection does not have the form of one: " + models.NamePattern,
		"Choose another name.",
	},
	models.CodeInvalidID: {
		http.StatusBadRequest, "Invalid id",
		"The id does not have the form of one: " + models.NamePattern,
		"Choose another id. A UUID is good.",
	},

	models.CodeUnauthenticated: {
		http.StatusUnauthorized, "Unauthenticated",
		"There is no token or API key, or it is expired, revoked, forged, for somebody else, lives too long, or lacks a claim (sub, exp, spaces). Or a stream's ticket is older than 60 seconds.",
		"Get a new token and send it as \"Authorization: Bearer <token>\"; tokens in URLs are not looked at. For EventSource get a new ticket.",
	},
	models.CodeForbidden: {
		http.StatusForbidden, "Forbidden",
		"The token may read this space but not write it, or does not reach one of the collections asked for. Or, without auth: the request is for another host's name than localhost, or was sent by a page of another site.",
		"Get a token whose claim spaces gives \"rw\", or names the collections. Without auth: ask for localhost or 127.0.0.1, from a page of http://localhost on any port, or name the page's origin in --cors-origins. Files opened from disk have no origin that could be named: serve them.",
	},

	models.CodeNotFound: {
		http.StatusNotFound, "Not found",
		"There is nothing at this path.",
		"See /docs for what there is. The demo page at / is there only in development.",
	},
	models.CodeSpaceNotFound: {
		http.StatusNotFound, "Space not found",
		"The token does not name this space. Whether it exists is not told.",
		"Check the spelling (case matters), or get a token that names the space.",
	},
	models.CodeDocumentNotFound: {
		http.StatusNotFound, "Document not found",
		"There is no live document of that name: it never was, or it is deleted, or the token does not reach its collection.",
		"Create it with PUT and If-None-Match: *.",
	},
	models.CodeMethodNotAllowed: {
		http.StatusMethodNotAllowed, "Method not allowed",
		"The path exists, but not with this method.",
		"The header Allow names the methods it has.",
	},
	models.CodeRequestTimeout: {
		http.StatusRequestTimeout, "Request timeout",
		"The body did not arrive within 15 seconds. Nothing was applied.",
		"Send it again, in smaller pushes or compressed with gzip if the line is slow.",
	},
	models.CodePresenceTaken: {
		http.StatusConflict, "Presence taken",
		"Another subject is present in this space with this client_id.",
		"Use a client_id of your own: a fresh UUID per device and tab. The other one stays until it leaves or its ttl has passed.",
	},
	models.CodeCursorExpired: {
		http.StatusGone, "Cursor expired",
		"The cursor cannot be resumed from. cause says why: retention (the client was away longer than tombstones are kept), epoch (the database was restored from a backup, or the cursor is ahead of it), filter (it was made with other collections), deleted (the space was deleted since, and may be in use again). A push that carried it applied nothing.",
		"Pull a snapshot without a cursor; drop local documents that it does not bring and that have no unsent edits; push unsent edits again.",
	},
	models.CodeVersionConflict: {
		http.StatusPreconditionFailed, "Version conflict",
		"The document is not at the version that If-Match or If-None-Match demands.",
		"current is the document as it is now, or its tombstone. Make the change again on that, with its version in If-Match.",
	},

	models.CodeBodyTooLarge: {
		http.StatusRequestEntityTooLarge, "Body too large",
		"The body has more than 1 MiB after inflation.",
		"Send the edits in several pushes.",
	},
	models.CodeBatchTooLarge: {
		http.StatusRequestEntityTooLarge, "Batch too large",
		"The push has more than 200 edits.",
		"Send them in several pushes, one after the other.",
	},
	models.CodeDocumentTooLarge: {
		http.StatusRequestEntityTooLarge, "Document too large",
		"The document, or what a patch makes of it, has more than 256 KiB; or the state of a presence has more than 1 KiB.",
		"Split it into several documents; keep files elsewhere and store their addresses.",
	},
	models.CodeURITooLong: {
		http.StatusRequestURITooLong, "URI too long",
		"The URL has more than 8 KiB.",
		"Ask for fewer spaces or collections at once.",
	},
	models.CodeUnsupportedMedia: {
		http.StatusUnsupportedMediaType, "Unsupported media type",
		"Content-Type is missing, is not JSON, or names a charset other than UTF-8.",
		"Send Content-Type: application/json.",
	},
	models.CodeUnsupportedEncoding: {
		http.StatusUnsupportedMediaType, "Unsupported encoding",
		"Content-Encoding is something else than gzip, or names more than one encoding.",
		"Compress once with gzip, or not at all.",
	},

	models.CodeInvalidDocument: {
		http.StatusUnprocessableEntity, "Invalid document",
		"The document is not an I-JSON object (RFC 7493) within the limits: no lone surrogates, no U+0000, finite numbers, integers within ±(2^53-1), at most 10,000 values, names of at most 256 bytes.",
		"Correct what errors[] or the result's pointer names. GET /v1/config tells the limits.",
	},
	models.CodeDocumentTooDeep: {
		http.StatusUnprocessableEntity, "Document too deep",
		"The document is nested deeper than 32.",
		"Flatten it, or split it into several documents.",
	},
	models.CodeEditIDReused: {
		http.StatusUnprocessableEntity, "Edit id reused",
		"This client has used the edit_id (or Idempotency-Key) for another edit.",
		"Make a new id for each edit, and keep it for retries of that edit only.",
	},
	models.CodePushTooLarge: {
		http.StatusUnprocessableEntity, "Push too large",
		"With this edit the documents of the push have more than 4 MiB together.",
		"Send it in another push.",
	},
	models.CodeSchemaViolation: {
		http.StatusUnprocessableEntity, "Schema violation",
		"The document, or what a patch makes of it, breaks the JSON Schema that this server has for its collection.",
		"Correct what errors[] names, at most ten places at a time. A document from before the schema stays as it is until a patch or a put makes it fit.",
	},
	models.CodeValidationFailed: {
		http.StatusUnprocessableEntity, "Validation failed",
		"The application behind this server, which is asked about each edit, does not allow this one.",
		"detail is what the application says. Sending the same again helps only if it changes its mind.",
	},
	models.CodePreconditionRequired: {
		http.StatusPreconditionRequired, "Precondition required",
		"The write says neither If-Match nor If-None-Match, so it could overwrite what its sender has not seen.",
		"Send If-Match with the document's ETag, If-Match: * for any version, or If-None-Match: * to create it.",
	},
	models.CodeSpaceBusy: {
		http.StatusTooManyRequests, "Space busy",
		"256 pushes are waiting for this space on this node. Nothing was changed.",
		"Send the same push again after Retry-After. Put more edits into one push.",
	},
	models.CodeUpgradeRequired: {
		http.StatusUpgradeRequired, "Upgrade required",
		"The path is that of a WebSocket, and the request is no handshake.",
		"Open it with a WebSocket client. If that was one, a proxy in between does not pass Connection and Upgrade on.",
	},
	models.CodeTooManyStreams: {
		http.StatusTooManyRequests, "Too many streams",
		"This subject has 20 streams open on this node.",
		"Close streams that nobody looks at; watch several spaces on one with GET /v1/stream. Poll meanwhile.",
	},

	models.CodeRateLimited: {
		http.StatusTooManyRequests, "Rate limited",
		"This subject, or without a good token this address, sends more requests a second than limits.requests_per_s in GET /v1/config. Nothing was changed.",
		"Send the same again after Retry-After. Wait poll_after_ms between pulls, or use a long poll or a stream; put more edits into one push, and many spaces into one request for heads.",
	},

	models.CodePresenceFull: {
		http.StatusTooManyRequests, "Presence full",
		"1,000 clients are present in this space, and there may be no more.",
		"Try again after Retry-After: somebody may have left. Who is present stays so by going on with heartbeats.",
	},

	models.CodeBaseRequired: {
		0, "Base required",
		"The edit does not say what it was made on.",
		"Give base_version (0 for a new document), base_edit_id, or force.",
	},
	models.CodeBaseUnknown: {
		0, "Base unknown",
		"The server knows no applied edit of this client that base_edit_id names.",
		"Pull, make the edit again on what is there, and send it with base_version.",
	},
	models.CodeInvalidEdit: {
		0, "Invalid edit",
		"The edit contradicts itself: two of base_version, base_edit_id and force; data that is missing or out of place; or a base_edit_id of another document.",
		"Correct the edit and send it under a new edit_id.",
	},

	models.CodeCollectionForbidden: {
		0, "Collection forbidden",
		"The token is narrowed to some collections of the space, and the edit is of another one. It is not told whether the edit was applied before.",
		"Get a token whose claim spaces names the collection.",
	},

	models.CodeInternal: {
		http.StatusInternalServerError, "Internal error",
		"A fault of the server. Its log knows more under the request_id.",
		"Try again; if it stays, report the request_id.",
	},
	models.CodeUnavailable: {
		http.StatusServiceUnavailable, "Unavailable",
		"The server can't do it now: its database is away or busy, the application that it must ask does not answer, it is shutting down, or it can't read what is revoked, and so lets nobody in. Nothing was applied.",
		"Send the same again after Retry-After.",
	},
	models.CodeOutcomeUnknown: {
		http.StatusServiceUnavailable, "Outcome unknown",
		"The database's answer was lost: the edits may or may not have been applied.",
		"Send exactly the same push again after Retry-After; each edit takes effect once.",
	},
}
