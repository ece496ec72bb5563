package localapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"fieldpost/edge"
	"fieldpost/queue"
)

// problem is an error as RFC 9457 has it.
type problem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail,omitempty"`
	Errors []fieldError  `json:"errors,omitempty"`
	Why    *edge.Outcome `json:"outcome,omitempty"` // what became of a command

	retry  time.Duration // Retry-After, where it is not 0
	header http.Header   // more headers; may be nil
}

// fieldError says which part of a body is wrong.
type fieldError struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Error gives the detail, or the title where there is none.
func (p *problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

func newProblem(status int, slug, title, format string, args ...any) *problem {
	return &problem{Type: "urn:fieldpost:" + slug, Title: title, Status: status, Detail: fmt.Sprintf(format, args...)}
}

func (p *problem) after(d time.Duration) *problem { p.retry = d; return p }

func badRequest(format string, args ...any) *problem {
	return newProblem(http.StatusBadRequest, "bad-request", "Bad request", format, args...)
}

func invalid(format string, args ...any) *problem {
	return newProblem(http.StatusUnprocessableEntity, "invalid", "Not valid", format, args...)
}

func notFound(format string, args ...any) *problem {
	return newProblem(http.StatusNotFound, "not-found", "Not found", format, args...)
}

func forbidden(format string, args ...any) *problem {
	return newProblem(http.StatusForbidden, "forbidden", "Forbidden", format, args...)
}

func conflict(format string, args ...any) *problem {
	return newProblem(http.StatusConflict, "conflict", "Conflict", format, args...)
}

func tooLarge(format string, args ...any) *problem {
	return newProblem(http.StatusRequestEntityTooLarge, "too-large", "Too large", format, args...)
}

func busy(format string, args ...any) *problem {
	return newProblem(http.StatusServiceUnavailable, "busy", "Busy", format, args...).after(time.Second)
}

// known maps what the parts below return to what a client gets. The first that
// matches decides.
var known = []struct {
	err    error
	status int
	slug   string
	title  string
	retry  time.Duration
}{
	{edge.ErrBusy, http.StatusServiceUnavailable, "busy", "Busy", time.Second},
	{edge.ErrReloading, http.StatusServiceUnavailable, "busy", "Busy", time.Second},
	{edge.ErrKeyRunning, http.StatusConflict, "key-running", "The request with this Idempotency-Key is being done", time.Second},
	{edge.ErrKeyReused, http.StatusUnprocessableEntity, "key-reused", "Idempotency-Key was used with another body", 0},
	{queue.ErrFull, http.StatusServiceUnavailable, "full", "The store is full", 10 * time.Second},
	{queue.ErrClosed, http.StatusServiceUnavailable, "closing", "The agent is stopping", 5 * time.Second},
	{queue.ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large", "Too large", 0},
	{edge.ErrTooBig, http.StatusRequestEntityTooLarge, "too-large", "Too large", 0},
	{queue.ErrNotFound, http.StatusNotFound, "not-found", "Not found", 0},
	{edge.ErrNoDevice, http.StatusNotFound, "no-device", "No such device", 0},
	{edge.ErrNoCommand, http.StatusNotFound, "no-command", "No such command", 0},
	{edge.ErrRefused, http.StatusConflict, "refused", "The device refused", 0},
	{edge.ErrBadValue, http.StatusUnprocessableEntity, "bad-command", "Bad command", 0},
	{edge.ErrAbsent, http.StatusServiceUnavailable, "absent", "The device is absent", 0},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "timeout", "It took too long", time.Second},
	{context.Canceled, http.StatusServiceUnavailable, "canceled", "The request was given up", time.Second},
}

// asProblem gives an error the form that a client gets. What is not known is an
// internal error, whose text the log gets and the client does not.
func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return newProblem(k.status, k.slug, k.title, "%s", err.Error()).after(k.retry)
		}
	}
	return newProblem(http.StatusInternalServerError, "internal", "Internal error", "the agent's log says more")
}

// notStored is the answer where a flush did not work: the disk's own error, and
// a hint that it may work later.
func notStored(err error) error {
	p := asProblem(err)
	if p.Status != http.StatusInternalServerError {
		return p
	}
	return newProblem(http.StatusServiceUnavailable, "not-stored", "Not stored", "%v", err).after(5 * time.Second)
}
