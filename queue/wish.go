package queue

import "time"

// How far a ring that thins may go over its bound, and when it asks. By count it
// asks at a quarter of its slack, so that it is thinned in batches.
const (
	minSlack     = 8192             // records: what one flush can bring
	minSlackSize = 1 << 20          // bytes
	thinPatience = 10 * time.Minute // of which nothing was thinned; then bounds count that could wait
)

// wish is what a ring asked for; it is pending while its floor is below.
type wish struct {
	to      uint64
	cause   Cause
	urgent  bool
	since   time.Time // when it was made, or last came nearer
	records uint64    // what the ring had when it was made
	bytes   int64
}

// pending is the ring's wish, empty where it is fulfilled.
func (r *ring) pending() wish {
	if r.wish.to <= r.floor {
		return wish{}
	}
	return r.wish
}

// stuck reports whether there is a wish that nobody does anything about.
func (w *wish) stuck() bool { return w.to > 0 && time.Since(w.since) > thinPatience }

// ask notes that all up to seq is to go.
func (r *ring) ask(seq uint64, cause Cause, urgent bool, bytes int64) {
	seq = min(seq, r.last)
	w := r.pending()
	if seq <= r.floor || seq <= w.to && (w.urgent || !urgent) {
		return
	}
	if w.to == 0 {
		w.since, w.records = time.Now(), r.last-r.floor
	}
	if w.bytes == 0 {
		w.bytes = bytes
	}
	told := w.to > 0 && (w.urgent || !urgent)
	w.to, w.cause, w.urgent = max(seq, w.to), cause, urgent || w.urgent
	if r.wish = w; told { // who thins comes back to it anyway
		return
	}
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// giveUp lets go of all up to seq as it is, since nobody thinned it in time.
func (r *ring) giveUp(seq uint64, cause Cause) {
	if seq <= r.floor {
		return
	}
	if !r.gaveUp {
		r.gaveUp = true
		r.log.Warn("ring is not thinned in time: its oldest records go as they are", "ring", r.name, "cause", string(cause), "up_to", seq)
	}
	r.raise(seq, cause)
}

// askKeep bounds a ring that thins by count. Where it had more than its slack
// from the first, as after a change of its bound, it may keep that for as long as
// it is being thinned.
func (r *ring) askKeep(keep uint64) {
	slack := max(keep/4, minSlack)
	most, w := keep+slack, r.pending()
	if w.records > most && !w.stuck() {
		most = w.records + w.records/4
	}
	if have := r.last - r.floor; have > most && w.to > 0 {
		r.giveUp(r.last-most, Evicted)
	}
	if over := r.last - r.floor - keep; over > slack/4 {
		r.ask(r.last-keep, Evicted, over > slack/2, 0)
	}
}

// askSize bounds one by the bytes that it takes, in the same way.
func (r *ring) askSize(size int64) {
	have := r.disk(r.segments)
	if have <= size {
		return
	}
	w := r.pending()
	most := size + max(size/4, minSlackSize)
	if !w.stuck() && w.bytes > most {
		most = w.bytes + w.bytes/4
	}
	if w.to > 0 {
		r.giveUp(r.beyond(most), Evicted)
	}
	r.ask(r.beyond(size), Evicted, have > size+size/8, have)
}

// askAge bounds one by age. Only patience is lost with time: off time that a sync
// proves can make a ring old at once, and endangers nothing.
func (r *ring) askAge(seq uint64, age, most time.Duration) {
	if w := r.pending(); age > most+most/4 && w.stuck() {
		r.giveUp(seq, Aged)
	}
	r.ask(seq, Aged, age > most+most/8, 0)
}
