package wakeup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// maxAnswerBytes are read of an answer, so that its connection can be used again.
	maxAnswerBytes = 64 << 10
	// maxRetryAfter is how long a receiver may be left alone because it asked for that.
	maxRetryAfter = time.Hour
)

// answer is what a receiver that fails has said.
type answer struct {
	gone       bool
	retryAfter time.Duration
}

// post sends one request. Without an error the receiver has taken it.
func (s *Sender) post(ctx context.Context, list []entry) (a answer, err error) {
	id, body, err := newMessage(list)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.pauses.timeout)
	defer cancel()
	res, err := s.target.Post(ctx, id, body)
	if err != nil {
		if within, ok := errors.AsType[*url.Error](err); ok {
			err = within.Err // the URL may hold what is nobody's business
		}
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()                              // it was only read
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswerBytes)) // the status has said all
	if res.StatusCode/100 == 2 {
		return answer{}, nil
	}
	a = answer{gone: res.StatusCode == http.StatusGone, retryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	return a, fmt.Errorf("the answer is %d, not 2xx", res.StatusCode)
}

// retryAfter reads the header of that name: seconds, or a time.
func retryAfter(text string, now time.Time) time.Duration {
	var pause time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		pause = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		pause = at.Sub(now)
	}
	return min(max(pause, 0), maxRetryAfter)
}
