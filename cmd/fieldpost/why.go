package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fieldpost/edge"
)

// whyLinks bounds a chain of causes.
const whyLinks = 32

// How a chain ends.
const (
	endStart   = "start"   // the last link was led to by nothing
	endMissing = "missing" // the next can't be read any more
	endLoop    = "loop"    // the next is in the chain already
	endLong    = "long"    // there is more than whyLinks
)

// whyChain is what led to a device's level, the newest first.
type whyChain struct {
	Device edge.DeviceStatus `json:"device"`
	Note   string            `json:"note,omitempty"` // what is to be said of the level itself
	Links  []whyLink         `json:"chain"`
	End    string            `json:"end"`
	Cause  string            `json:"cause,omitempty"` // the id that the chain could not go on to
}

// whyLink is one event of it, and how far that has come.
type whyLink struct {
	Event   json.RawMessage   `json:"event"`
	Uplinks []edge.UplinkFate `json:"uplinks"`

	ev edge.Event
}

func whyVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why NAME",
		Short: "Shows what led to a device's present level, and how far that is known",
		Long: `Shows the chain of events behind a device's present level, the newest first: who, when, and what each uplink has of it.

CLOCK is synced, corrected (the time was worked out after a later sync) or unsynced (the best guess). An event that is
shown is stored; UPLINKS says acknowledged, sent (not answered yet), waiting, refused or not forwarded.`,
		Example: "  fieldpost why pump",
		Args:    takes(1, 1, "the name of a device"),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := a.client()
		defer c.close()
		chain, err := why(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if *out == asJSON {
			return printJSON(a.Out, chain)
		}
		return a.printChain(chain)
	}
	return cmd
}

// why follows the causes back from the event that gave the device its value.
func why(ctx context.Context, c *client, name string) (*whyChain, error) {
	chain := &whyChain{Links: []whyLink{}}
	if err := c.get(ctx, "/v1/devices/"+url.PathEscape(name), nil, &chain.Device); err != nil {
		return nil, err
	}
	raw, err := levelEvent(ctx, c, chain)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for raw != nil {
		link := whyLink{Event: raw}
		if err := json.Unmarshal(raw, &link.ev); err != nil {
			return nil, fmt.Errorf("read an event: %w", err)
		}
		seen[link.ev.ID()] = true
		if link.Uplinks, err = fates(ctx, c, &link.ev); err != nil {
			return nil, err
		}
		chain.Links = append(chain.Links, link)
		cause := link.ev.Cause
		switch {
		case cause == "":
			chain.End, chain.Cause = endStart, ""
			return chain, nil
		case seen[cause]:
			chain.End, chain.Cause = endLoop, cause
			return chain, nil
		case len(chain.Links) == whyLinks:
			chain.End, chain.Cause = endLong, cause
			return chain, nil
		}
		chain.Cause = cause
		if raw, err = eventByID(ctx, c, cause); err != nil {
			return nil, err
		}
	}
	chain.End = endMissing
	return chain, nil
}

// levelEvent is the event that gave the device its value, nil where there is none.
// After a restart the agent knows the value and not its event: then it is the newest
// that the device told itself.
func levelEvent(ctx context.Context, c *client, chain *whyChain) (json.RawMessage, error) {
	d := &chain.Device
	if d.Event != "" {
		raw, err := eventByID(ctx, c, d.Event)
		if raw == nil {
			chain.Cause = d.Event
		}
		return raw, err
	}
	v := url.Values{"name": {d.Name}, "kind": {string(edge.Change), string(edge.Sample)}, "order": {"desc"}, "limit": {"100"}}
	for {
		var page eventPage
		if err := c.get(ctx, "/v1/events", v, &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Events {
			var ev edge.Event
			if err := json.Unmarshal(raw, &ev); err != nil {
				return nil, fmt.Errorf("read an event: %w", err)
			}
			if ev.From != "device:"+d.Name || ev.Origin != nil {
				continue // a client published under the device's name
			}
			var data struct{ Value json.RawMessage }
			if json.Unmarshal(ev.Data, &data) == nil && string(data.Value) != string(d.Value) {
				chain.Note = "the event of this level is not stored yet; this is the one before it"
			}
			return raw, nil
		}
		if page.Next == "" {
			return nil, nil
		}
		v.Set("before", page.Next)
	}
}

// eventByID reads one event, nil where it is not there any more.
func eventByID(ctx context.Context, c *client, id string) (json.RawMessage, error) {
	epoch, n, err := edge.ParseID(id)
	if err != nil || n == 0 {
		return nil, nil // an id of somebody else's making: a client may publish any
	}
	v := url.Values{
		"after": {edge.Position{Epoch: epoch, N: n - 1}.String()}, "before": {edge.Position{Epoch: epoch, N: n + 1}.String()}, "limit": {"1"},
		"kind": {string(edge.Change), string(edge.Sample), string(edge.Message), string(edge.Acted), string(edge.Hook), string(edge.Loss), string(edge.System)},
	}
	for {
		var page eventPage
		if err := c.get(ctx, "/v1/events", v, &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Events {
			var ev edge.Event
			if json.Unmarshal(raw, &ev) == nil && ev.ID() == id {
				return raw, nil
			}
			return nil, nil // the next one: that of the id is gone
		}
		if page.Next == "" {
			return nil, nil
		}
		v.Set("after", page.Next)
	}
}

// fates asks how far an event has come. One that was evicted meanwhile has none.
func fates(ctx context.Context, c *client, ev *edge.Event) ([]edge.UplinkFate, error) {
	list := struct {
		Uplinks []edge.UplinkFate `json:"uplinks"`
	}{Uplinks: []edge.UplinkFate{}}
	err := c.get(ctx, "/v1/events/"+url.PathEscape(ev.Ring)+"/"+strconv.FormatUint(ev.Seq, 10)+"/uplinks", nil, &list)
	var refused *statusError
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		err = nil
	}
	return list.Uplinks, err
}

// printChain prints a chain for people.
func (a *app) printChain(chain *whyChain) error {
	d := &chain.Device
	text := fmt.Sprintf("%s: %s", d.Name, valueText(d.Value, d.Unit, d.State))
	if len(d.Value) == 0 {
		text = d.Name + ": no value"
	}
	if d.Status != "ok" || d.Error != "" {
		text += ", " + strings.TrimSuffix(d.Status+": "+d.Error, ": ")
	}
	if chain.Note != "" {
		text += "; " + chain.Note
	}
	fmt.Fprintln(a.Out, printable(text))
	if len(chain.Links) > 0 {
		t := newTable(a.Out, "TIME", "CLOCK", "WHO", "WHAT", "STORED", "UPLINKS")
		for i := range chain.Links {
			l := &chain.Links[i]
			t.row(localTime(l.ev.Time), string(l.ev.Clock), l.ev.From, whatText(&l.ev), l.ev.Ring+"/"+strconv.FormatUint(l.ev.Seq, 10), fateText(l.Uplinks))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if end := chain.endText(); end != "" {
		fmt.Fprintln(a.Out, printable(end))
	}
	return nil
}

// endText says why the chain ends where it does, "" where it begins there.
func (chain *whyChain) endText() string {
	switch chain.End {
	case endMissing:
		if chain.Cause == "" {
			return "No event that gave it its value is in the log."
		}
		return "What came before, event " + chain.Cause + ", is not in the log any more."
	case endLoop:
		return "The causes go round in a circle: event " + chain.Cause + " is shown already."
	case endLong:
		return fmt.Sprintf("More than %d events led here; the next is %s.", whyLinks, chain.Cause)
	}
	return ""
}

// fateText shows what the uplinks have of an event.
func fateText(fates []edge.UplinkFate) string {
	var all []string
	for _, f := range fates {
		all = append(all, f.Uplink+": "+string(f.Fate))
	}
	return strings.Join(all, ", ")
}

// whatMax is how much of an event a line shows, in characters.
const whatMax = 60

// whatText shows what happened.
func whatText(ev *edge.Event) string {
	text := ev.Name + " " + string(ev.Kind) + " " + dataText(ev.Data)
	var c struct {
		Verb   string          `json:"verb"`
		Asked  json.RawMessage `json:"asked"`
		Wanted json.RawMessage `json:"wanted"`
		Done   bool            `json:"done"`
		Why    string          `json:"why"`
	}
	if ev.Kind == edge.Acted && json.Unmarshal(ev.Data, &c) == nil && c.Verb != "" {
		text = ev.Name + " command " + strings.TrimSpace(c.Verb+" "+string(c.Asked))
		switch {
		case c.Done:
			text += ": done"
		case c.Why != "":
			text += ": not done: " + c.Why
		case len(c.Wanted) > 0:
			text += ": asked of its client"
		}
	}
	if runes := []rune(text); len(runes) > whatMax {
		text = string(runes[:whatMax]) + "..."
	}
	return text
}
