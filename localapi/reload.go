package localapi

import (
	"context"
	"errors"
	"net/http"

	"fieldpost/edge"
)

// postReload takes the config anew. A client that hangs up does not end it halfway.
func postReload(s *Server, r *request) (any, error) {
	if s.Reload == nil {
		return nil, notFound("this agent takes no other config while it runs")
	}
	if err := r.decode(&struct{}{}); err != nil {
		return nil, err
	}
	done, err := s.Reload(context.WithoutCancel(r.Context()), r.who.from())
	var no *edge.ReloadError
	if !errors.As(err, &no) {
		return done, err
	}
	p := newProblem(http.StatusConflict, "not-reloaded", "The config is not taken, the one before runs on", "%s", no.Error())
	if no.Config {
		p.Status, p.Type = http.StatusUnprocessableEntity, "urn:fieldpost:config"
	}
	for _, why := range no.Reasons {
		p.Errors = append(p.Errors, fieldError{Detail: why})
	}
	return nil, p
}
