package agent

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

const (
	wearDays = 7 // whole days that are kept
	wholeDay = 24 * time.Hour

	maxWearCauses = 5
)

// wearDay is what was written in one day.
type wearDay struct {
	Agent  int64  `json:"agent"`  // bytes
	Device int64  `json:"device"` // bytes
	Events uint64 `json:"events"`
}

// wearRow is what outlives the process.
type wearRow struct {
	Boot    string `json:"boot"`
	Mono    int64  `json:"mono"` // when it was counted last, in that boot
	Device  string `json:"device"`
	Counter int64  `json:"counter"` // the device's, then

	Uptime time.Duration `json:"uptime"` // of today so far
	Today  wearDay       `json:"today"`
	Days   []wearDay     `json:"days"` // whole ones, the oldest first
	Told   bool          `json:"told"` // that today is over the budget

	// What was written while the agent started today, and in which time: it is no
	// measure of the rest.
	Starts   wearDay       `json:"starts"`
	Starting time.Duration `json:"starting"`
}

// parseWear reads a row; one that is damaged counts as none.
func parseWear(raw []byte) (r wearRow, ok bool) {
	if len(raw) == 0 || json.Unmarshal(raw, &r) != nil || r.Uptime < 0 || r.Uptime >= wholeDay || len(r.Days) > wearDays {
		return wearRow{}, false
	}
	return r, true
}

// add counts what was written in a span. One that is longer than what is left of
// the day goes evenly over the days that it covers.
func (r *wearRow) add(span time.Duration, d wearDay, starting bool) {
	for left := wholeDay - r.Uptime; span >= left; left = wholeDay {
		part := d.share(left, span)
		r.Today.take(part)
		d = wearDay{d.Agent - part.Agent, d.Device - part.Device, d.Events - part.Events}
		span -= left
		r.roll()
	}
	r.Uptime += span
	r.Today.take(d)
	if starting {
		r.Starts.take(d)
		r.Starting += span
	}
}

// roll ends the day.
func (r *wearRow) roll() {
	r.Days = append(r.Days, r.Today)
	if len(r.Days) > wearDays {
		r.Days = slices.Delete(r.Days, 0, len(r.Days)-wearDays)
	}
	r.Today, r.Uptime, r.Told, r.Starts, r.Starting = wearDay{}, 0, false, wearDay{}, 0
}

func (d *wearDay) take(more wearDay) {
	d.Agent += more.Agent
	d.Device += more.Device
	d.Events += more.Events
}

// share is the part of d that falls to part of whole.
func (d wearDay) share(part, whole time.Duration) wearDay {
	if whole <= 0 {
		return d
	}
	f := float64(part) / float64(whole)
	return wearDay{int64(float64(d.Agent) * f), int64(float64(d.Device) * f), uint64(float64(d.Events) * f)}
}

// mean is the mean of the whole days.
func (r *wearRow) mean() (m wearDay) {
	n := len(r.Days)
	if n == 0 {
		return wearDay{}
	}
	for _, d := range r.Days {
		m.take(d)
	}
	return wearDay{m.Agent / int64(n), m.Device / int64(n), m.Events / uint64(n)}
}

// projected is what the agent will have written at the end of today; 0 where too
// little is known.
func (r *wearRow) projected() int64 {
	known := r.Uptime - r.Starting
	if known < wearSays {
		return 0
	}
	rate := float64(r.Today.Agent-r.Starts.Agent) / float64(known)
	return r.Today.Agent + int64(rate*float64(wholeDay-r.Uptime))
}

// perEvent is what an event cost today, by the agent; 0 where none was stored since
// it started.
func (r *wearRow) perEvent() float64 {
	events := r.Today.Events - r.Starts.Events
	if events == 0 {
		return 0
	}
	return float64(r.Today.Agent-r.Starts.Agent) / float64(events)
}

// wearCause is who asked for flushes. What else waits rides along with one.
type wearCause struct {
	Ring    string  `json:"ring,omitempty"` // "": calls of the API, cursors and other rows
	Flushes uint64  `json:"flushes"`        // since the start
	Share   float64 `json:"share"`          // of all
}

// wearCauses sorts those who asked, the largest first.
func wearCauses(asks map[string]uint64) []wearCause {
	var all uint64
	causes := []wearCause{}
	for ring, n := range asks {
		all += n
		causes = append(causes, wearCause{Ring: ring, Flushes: n})
	}
	for i := range causes {
		causes[i].Share = float64(causes[i].Flushes) / float64(all)
	}
	slices.SortFunc(causes, func(a, b wearCause) int {
		return cmp.Or(cmp.Compare(b.Flushes, a.Flushes), cmp.Compare(a.Ring, b.Ring))
	})
	return causes[:min(len(causes), maxWearCauses)]
}
