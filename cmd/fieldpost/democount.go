package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
)

// count shows once a second what the broker has and what waits for it: on a
// terminal in one line that is written over, else a line whenever it changed.
func (d *demo) count(ctx context.Context, c *client) {
	defer c.close()
	live := isTerminal(d.Out)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			if live && last != "" {
				fmt.Fprintln(d.Out)
			}
			return
		case <-tick.C:
		}
		text := d.countLine(ctx, c)
		switch {
		case text == "" || text == last:
		case live:
			fmt.Fprintf(d.Out, "\r\x1b[K%s", text)
		default:
			fmt.Fprintln(d.Out, text)
		}
		if text != "" {
			last = text
		}
	}
}

// countLine is one line; "" where the agent did not answer.
func (d *demo) countLine(ctx context.Context, c *client) string {
	var list struct {
		Uplinks []edge.UplinkStatus `json:"uplinks"`
	}
	if err := c.get(ctx, "/v1/uplinks", nil, &list); err != nil || len(list.Uplinks) == 0 {
		return ""
	}
	u := list.Uplinks[0]
	text := fmt.Sprintf("broker: %d events  line: %s  backlog: %d", d.broker.events(), u.State, u.Backlog)
	if u.Backlog > 0 && u.Empty != nil {
		text += ", empty in " + emptyText(u.Empty)
	}
	return text
}

// isTerminal reports whether what is written is read by a person.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
