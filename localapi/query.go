package localapi

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"fieldpost/edge"
)

// maxLimit and defaultLimit are of one page of events.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// kinds are the kinds that a reader can ask for.
func kinds() []edge.Kind {
	return []edge.Kind{edge.Change, edge.Sample, edge.Message, edge.Acted, edge.Hook, edge.Loss, edge.System, edge.Gap}
}

// eventsQuery reads the query parameters of GET /v1/events. Every one that is
// not known is an error: a typo must not read the whole log.
func eventsQuery(v url.Values, who principal) (edge.Query, error) {
	q, err := selectQuery(v, who, "ring", "after", "before", "limit", "order", "name", "kind", "since", "until")
	if err != nil {
		return q, err
	}
	if q.Before, _, err = positionOf(v, "before"); err != nil {
		return q, err
	}
	switch v.Get("order") {
	case "", "asc":
	case "desc":
		q.Desc = true
	default:
		return q, badRequest("order: use asc or desc")
	}
	if q.Since, err = timeOf(v, "since"); err != nil {
		return q, err
	}
	if q.Until, err = timeOf(v, "until"); err != nil {
		return q, err
	}
	q.Limit, err = limitOf(v)
	return q, err
}

// selectQuery reads the parameters that say which events are meant.
func selectQuery(v url.Values, who principal, known ...string) (q edge.Query, err error) {
	for k, values := range v {
		if !slices.Contains(known, k) {
			return q, badRequest("parameter %q is not known", k)
		}
		if len(values) > 1 && k != "name" && k != "kind" {
			return q, badRequest("parameter %q is there twice", k)
		}
	}
	q.Scope = who.names
	if q.After, _, err = positionOf(v, "after"); err != nil {
		return q, err
	}
	if ring := v.Get("ring"); v.Has("ring") {
		if err := checkRing(ring, who); err != nil {
			return q, err
		}
		q.Rings, q.BySeq = []string{ring}, true
	}
	if q.Names, err = namesOf(v["name"]); err != nil {
		return q, err
	}
	q.Kinds, err = kindsOf(v["kind"])
	return q, err
}

// checkRing refuses a ring's name that can't be, or that the principal may not
// read. A ring that is not there is empty.
func checkRing(ring string, who principal) error {
	if !nameForm.MatchString(ring) {
		return badRequest("ring %q: use small letters, digits, - and _", ring)
	}
	return who.mayRead(ring)
}

func namesOf(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if err := checkPatterns("#/names", names); err != nil {
		return nil, badRequest("name: %v", err)
	}
	return names, nil
}

func kindsOf(texts []string) ([]edge.Kind, error) {
	var out []edge.Kind
	for _, t := range texts {
		if !slices.Contains(kinds(), edge.Kind(t)) {
			return nil, badRequest("kind %q is not known", t)
		}
		out = append(out, edge.Kind(t))
	}
	return out, nil
}

func positionOf(v url.Values, key string) (p edge.Position, given bool, err error) {
	text := v.Get(key)
	if text == "" {
		return p, false, nil
	}
	if p, err = edge.ParsePosition(text); err != nil {
		return p, false, badRequest("%s: %v", key, err)
	}
	return p, true, nil
}

func timeOf(v url.Values, key string) (time.Time, error) {
	text := v.Get(key)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, badRequest("%s: %q is not a time such as 2026-11-21T01:32:15Z", key, text)
	}
	return t, nil
}

func limitOf(v url.Values) (int, error) {
	text := v.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, badRequest("limit: use a number from 1 to %d", maxLimit)
	}
	return n, nil
}
