package api

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/models"
)

// health answers as long as the process does; it never asks the database,
// because starting the process anew would not bring that back.
func (s *Server) health(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// ready answers whether requests should be sent here.
func (s *Server) ready(c echo.Context) error {
	err := s.readiness(working(c))
	if err == nil {
		return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
	}
	e := &models.Error{Code: models.CodeUnavailable, Detail: "The server is not ready.", Err: err}
	if known := told(err); known != nil {
		e.Detail += " " + known.Detail
		e.Err = known.Err // nil if it starts or shuts down, which is nothing to log at each look
	}
	return e
}

// readiness returns nil if requests should be sent here.
func (s *Server) readiness(ctx context.Context) error {
	select {
	case <-s.leaving:
		return models.Errorf(models.CodeUnavailable, "It is shutting down.")
	default:
	}
	if err := s.engine.Ready(ctx); err != nil || s.development() {
		return err
	}
	return s.opts.Verifier.Ready()
}

// Leave makes the server say that it is not ready, while it goes on answering: whoever
// sends requests here gets time to send them elsewhere before it drains.
func (s *Server) Leave() { s.leave() }

// serverConfig is what a client may want to know about this server.
type serverConfig struct {
	Versions   serverVersions `json:"versions"`
	Limits     serverLimits   `json:"limits"`
	RetentionS int64          `json:"retention_s"`
	PollMinMS  int64          `json:"poll_min_ms"`
	PollMaxMS  int64          `json:"poll_max_ms"`
}

type serverVersions struct {
	Server string `json:"server"`
	API    string `json:"api"`
}

type serverLimits struct {
	HeaderBytes        int   `json:"header_bytes"`
	URLBytes           int   `json:"url_bytes"`
	BodyBytes          int   `json:"body_bytes"`
	TokenBytes         int   `json:"token_bytes"`
	PushEdits          int   `json:"push_edits"`
	PushBytes          int   `json:"push_bytes"`
	DocumentBytes      int   `json:"document_bytes"`
	DocumentDepth      int   `json:"document_depth"`
	DocumentValues     int   `json:"document_values"`
	KeyBytes           int   `json:"key_bytes"`
	NameBytes          int   `json:"name_bytes"`
	SpaceBytes         int   `json:"space_bytes"`
	CursorBytes        int   `json:"cursor_bytes"`
	PageChanges        int   `json:"page_changes"`
	PageChangesDefault int   `json:"page_changes_default"`
	PageBytes          int   `json:"page_bytes"`
	PageRows           int   `json:"page_rows"`
	Collections        int   `json:"collections"`
	Heads              int   `json:"heads"`
	WaitS              int64 `json:"wait_s"`
	Receipts           int   `json:"receipts"`
	Present            int   `json:"present"`
	PresenceStateBytes int   `json:"presence_state_bytes"`
	PresenceTTLS       int64 `json:"presence_ttl_s"`
	QueuedPushes       int   `json:"queued_pushes"`
	StreamSpaces       int   `json:"stream_spaces"`
	StreamsPerSubject  int   `json:"streams_per_subject"`
	StreamsPerNode     int   `json:"streams_per_node"`
	RequestsPerS       int   `json:"requests_per_s"`
}

func (s *Server) config(c echo.Context) error {
	if _, err := query(c); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, serverConfig{
		Versions: serverVersions{Server: s.opts.Version, API: "v1"},
		Limits: serverLimits{
			HeaderBytes:        models.MaxHeaderBytes,
			URLBytes:           models.MaxURLBytes,
			BodyBytes:          models.MaxBodyBytes,
			TokenBytes:         models.MaxTokenBytes,
			PushEdits:          models.MaxEdits,
			PushBytes:          models.MaxPushBytes,
			DocumentBytes:      models.MaxDocumentBytes,
			DocumentDepth:      models.MaxDocumentDepth,
			DocumentValues:     models.MaxDocumentValues,
			KeyBytes:           models.MaxKeyBytes,
			NameBytes:          models.MaxNameBytes,
			SpaceBytes:         models.MaxSpaceBytes,
			CursorBytes:        models.MaxCursorBytes,
			PageChanges:        models.MaxPageChanges,
			PageChangesDefault: models.DefaultPageChanges,
			PageBytes:          models.MaxPageBytes,
			PageRows:           models.MaxPageRows,
			Collections:        models.MaxCollections,
			Heads:              models.MaxHeads,
			WaitS:              int64(models.MaxWait / time.Second),
			Receipts:           models.MaxReceipts,
			QueuedPushes:       models.MaxQueuedPushes,
			Present:            models.MaxPresent,
			PresenceStateBytes: models.MaxPresenceStateBytes,
			PresenceTTLS:       int64(models.MaxPresenceTTL / time.Second),
			StreamSpaces:       models.MaxStreamSpaces,
			StreamsPerSubject:  models.MaxStreamsPerSubject,
			StreamsPerNode:     models.MaxStreamsPerNode,
			RequestsPerS:       s.opts.RateLimit,
		},
		RetentionS: int64(s.opts.Retention / time.Second),
		PollMinMS:  s.opts.PollMin.Milliseconds(),
		PollMaxMS:  s.opts.PollMax.Milliseconds(),
	})
}
