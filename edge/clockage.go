package edge

import (
	"time"

	"fieldpost/queue"
)

// uptime is the time from st to now that some boot was running, as far as is
// known; now is on the running boot's clock.
func (t *clockTable) uptime(st queue.Stamp, now int64) time.Duration {
	cur := t.current()
	at, ok := t.find(st.Boot)
	switch {
	case st.Boot == cur.index:
		return time.Duration(max(0, now-st.Mono))
	case st.Boot > cur.index:
		return 0
	case !ok: // from the next boot that has a row
		return t.since(at, 0, now)
	}
	return t.since(at, min(max(0, st.Mono), t.rows[at].Last), now)
}

// since is the uptime from mono of a row on.
func (t *clockTable) since(at int, mono, now int64) time.Duration {
	return t.current().up - t.rows[at].up - time.Duration(mono) + time.Duration(now)
}

// off is the time after st that no boot was running, as far as two syncs prove
// it: from each boot that was synced to the next such one. What the boots slept
// counts neither here nor there.
func (t *clockTable) off(st queue.Stamp, now int64) (off time.Duration) {
	from, ok := t.find(st.Boot)
	var doubt int64 // of the first sync and the last
	var last *bootTime
	var asleep int64 // in last and after
	for at := from; at < len(t.rows); at++ {
		b := t.rows[at]
		if b.sync.ok && last == nil {
			doubt = b.sync.Bound
		} else if b.sync.ok {
			gap := time.Duration(b.sync.zero-last.sync.zero-asleep) - (b.up - last.up)
			if gap <= day || t.since(at, b.sync.since, now) >= day {
				off += gap
			}
		}
		if b.sync.ok {
			last, asleep = b, 0
		}
		asleep += b.slept()
	}
	if last == nil {
		return 0
	}
	off -= time.Duration(doubt + last.sync.Bound)
	if ok {
		off -= time.Duration(max(0, st.Mono-t.rows[from].Last)) // it lasted longer than is known
	}
	return max(0, off)
}
