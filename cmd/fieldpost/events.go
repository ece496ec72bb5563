package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

// pageLimit is how many events one call asks for; the API gives no more.
const pageLimit = 1000

// eventsQuery is what the flags of events ask for.
type eventsQuery struct {
	ring   string
	names  []string
	kinds  []string
	after  string
	since  string
	until  string
	limit  int
	follow bool
	asJSON bool
}

func eventsVerb(a *app) *cobra.Command {
	var q eventsQuery
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Shows events, stored and as they come (-f)",
		Long: `Shows the newest events, oldest first. With --after it shows all that came later.

A gap is a range of numbers that can't be read any more, with its cause.`,
		Example: `  fieldpost events -f --name door
  fieldpost events --ring alarms --since 1h -o json`,
		Args: takes(0, 0, "no argument"),
	}
	out := outputFlag(cmd)
	f := cmd.Flags()
	f.BoolVarP(&q.follow, "follow", "f", false, "go on with what comes, until interrupted")
	f.StringVar(&q.ring, "ring", "", "one `ring`, in the order of its own numbers")
	f.StringSliceVar(&q.names, "name", nil, "only these `names`; * matches any run")
	f.StringSliceVar(&q.kinds, "kind", nil, "only these `kinds`: change, sample, message, command, loss, system, gap")
	f.StringVar(&q.since, "since", "", "only what is later than this `time`: 1h, 2d, or 2026-11-21T01:32:15Z")
	f.StringVar(&q.until, "until", "", "only what is earlier than this `time`")
	f.StringVar(&q.after, "after", "", "all that is later than this `position`, such as 7f3a9c21.20817 or 0")
	f.IntVarP(&q.limit, "limit", "n", 50, "at most this `many` (0: all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q.asJSON = *out == asJSON
		if q.after != "" && !cmd.Flags().Changed("limit") {
			q.limit = 0
		}
		return a.events(cmd.Context(), q)
	}
	return cmd
}

func (a *app) events(ctx context.Context, q eventsQuery) error {
	sel, err := q.selection()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	c := a.client()
	defer c.close()
	p := &eventPrinter{w: a.Out, json: q.asJSON}
	var at string
	if q.after == "" && q.limit > 0 {
		at, err = showNewest(ctx, c, sel, q.limit, p)
	} else {
		if q.after != "" {
			sel.Set("after", q.after)
		}
		at, err = showAll(ctx, c, sel, q.limit, p.event)
	}
	if err != nil || !q.follow {
		return ended(ctx, err)
	}
	if q.until != "" {
		return nil // all that can match has been shown
	}
	return ended(ctx, follow(ctx, c, sel, at, p, a.Err))
}

// ended turns an error that an interrupt brought about into none.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// selection makes the query of the API.
func (q eventsQuery) selection() (url.Values, error) {
	v := url.Values{}
	if q.ring != "" {
		v.Set("ring", q.ring)
	}
	for _, n := range q.names {
		v.Add("name", n)
	}
	for _, k := range q.kinds {
		v.Add("kind", k)
	}
	if q.limit < 0 {
		return nil, usagef("events: --limit %d: it is a number from 0 on", q.limit)
	}
	if q.after != "" {
		if _, err := edge.ParsePosition(q.after); err != nil {
			return nil, usagef("events: --after: %v", err)
		}
	}
	for name, text := range map[string]string{"since": q.since, "until": q.until} {
		if text == "" {
			continue
		}
		t, err := moment(text, time.Now())
		if err != nil {
			return nil, usagef("events: --%s: %v", name, err)
		}
		v.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
	return v, nil
}

// moment reads a time, or how long ago it was.
func moment(text string, now time.Time) (time.Time, error) {
	var d edge.Duration
	if err := d.UnmarshalText([]byte(text)); err == nil {
		return now.Add(-d.D()), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return now, fmt.Errorf("%q is neither a time such as 2026-11-21T01:32:15Z nor how long ago, such as 1h", text)
}

// eventPage is one answer of GET /v1/events.
type eventPage struct {
	Events []json.RawMessage `json:"events"`
	Next   string            `json:"next"` // "" where nothing more was stored
	At     string            `json:"at"`   // the position behind the page
}

// showNewest prints the last limit events, oldest first, and gives the position
// behind all that was stored before it read.
func showNewest(ctx context.Context, c *client, sel url.Values, limit int, p *eventPrinter) (string, error) {
	at, err := newest(ctx, c, sel.Get("ring"))
	if err != nil {
		return "", err
	}
	v := cloneValues(sel)
	v.Set("order", "desc")
	var found []json.RawMessage
	for len(found) < limit {
		v.Set("limit", strconv.Itoa(min(limit-len(found), pageLimit)))
		var page eventPage
		if err := c.get(ctx, "/v1/events", v, &page); err != nil {
			return "", err
		}
		found = append(found, page.Events...)
		if page.Next == "" {
			break
		}
		v.Set("before", page.Next)
	}
	slices.Reverse(found)
	for _, raw := range found {
		at = later(at, raw, sel.Has("ring"))
		if err := p.event(raw); err != nil {
			return "", err
		}
	}
	return at, nil
}

// newest is the position behind what is stored now.
func newest(ctx context.Context, c *client, ring string) (string, error) {
	v := url.Values{"order": {"desc"}, "limit": {"1"}}
	if ring != "" {
		v.Set("ring", ring)
	}
	var page eventPage
	if err := c.get(ctx, "/v1/events", v, &page); err != nil {
		return "", err
	}
	if len(page.Events) == 0 {
		return "0", nil // nothing was stored: what comes is all
	}
	return later("0", page.Events[0], ring != ""), nil
}

// later is the position of an event where it is behind at, else at. Numbers go
// on through epochs.
func later(at string, raw json.RawMessage, bySeq bool) string {
	var ev edge.Event
	if json.Unmarshal(raw, &ev) != nil || ev.Kind == edge.Gap && !bySeq {
		return at
	}
	p := ev.Position()
	if bySeq {
		p = ev.SeqPosition()
	}
	if old, err := edge.ParsePosition(at); err == nil && old.N >= p.N {
		return at
	}
	return p.String()
}

// showAll hands out what is later than sel's position, at most limit events (0:
// all), and gives the position behind it.
func showAll(ctx context.Context, c *client, sel url.Values, limit int, each func(json.RawMessage) error) (string, error) {
	v := cloneValues(sel)
	for shown := 0; ; {
		most := pageLimit
		if limit > 0 {
			most = min(limit-shown, pageLimit)
		}
		v.Set("limit", strconv.Itoa(most))
		var page eventPage
		if err := c.get(ctx, "/v1/events", v, &page); err != nil {
			return "", err
		}
		for _, raw := range page.Events {
			if err := each(raw); err != nil {
				return "", err
			}
		}
		shown += len(page.Events)
		if page.Next == "" || limit > 0 && shown >= limit {
			return page.At, nil
		}
		v.Set("after", page.Next)
	}
}

func cloneValues(v url.Values) url.Values {
	out := make(url.Values, len(v))
	for k, values := range v {
		out[k] = slices.Clone(values)
	}
	return out
}

// follow prints what comes after at until ctx is done. An agent that goes away
// is waited for: it takes up where it was.
func follow(ctx context.Context, c *client, sel url.Values, at string, p *eventPrinter, notes io.Writer) error {
	v := cloneValues(sel)
	v.Del("since")
	lost := false
	for {
		if at != "" {
			v.Set("after", at)
		}
		resp, err := c.open(ctx, http.MethodGet, "/v1/stream", v, nil)
		if err == nil {
			lost = false
			at, err = readStream(resp.Body, at, p)
			_ = resp.Body.Close() // it was only read
		}
		var refused *statusError
		if ctx.Err() != nil || asRefusal(err, &refused) || isPrintError(err) {
			return err
		}
		if !lost {
			fmt.Fprintln(notes, "fieldpost: the agent went away: waiting for it")
			lost = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
