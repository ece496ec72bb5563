package queue

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	bolt "go.etcd.io/bbolt"
)

// overlay holds the rows that the journal has and state.db has not yet, each
// with the flush that wrote it. Store.mu guards it.
type overlay map[string]map[string]overlaid

type overlaid struct {
	value []byte // nil: deleted
	flush uint64
}

func (o overlay) put(r Row, flush uint64) {
	t := o[r.Table]
	if t == nil {
		t = map[string]overlaid{}
		o[r.Table] = t
	}
	t[r.Key] = overlaid{r.Value, flush}
}

// upTo gives the rows that a flush up to the given one wrote last.
func (o overlay) upTo(flush uint64) []Row {
	var out []Row
	for table, rows := range o {
		for key, v := range rows {
			if v.flush <= flush {
				out = append(out, Row{table, key, v.value})
			}
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Table < out[j].Table || out[i].Table == out[j].Table && out[i].Key < out[j].Key
	})
	return out
}

func (o overlay) trim(flush uint64) {
	for table, rows := range o {
		for key, v := range rows {
			if v.flush <= flush {
				delete(rows, key)
			}
		}
		if len(rows) == 0 {
			delete(o, table)
		}
	}
}

// Get gives a copy of a row's value. A row that can't be read counts as none.
func (s *Store) Get(table, key string) ([]byte, bool) {
	s.mu.RLock()
	v, ok := s.rows[table][key]
	s.mu.RUnlock()
	if ok {
		return slices.Clone(v.value), v.value != nil
	}
	var out []byte
	bucket := bucketOf(table)
	err := s.state.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		if b == nil {
			return nil
		}
		if stored := b.Get([]byte(key)); stored != nil {
			v, ok := unseal(bucket, []byte(key), stored)
			if !ok {
				return fmt.Errorf("key %q: %w", key, errDamaged)
			}
			out = append([]byte{}, v...)
		}
		return nil
	})
	if err != nil && s.alive() {
		s.log.Error("row can't be read", "table", table, "error", err)
	}
	return out, out != nil
}

// Each walks a table's rows with keys from the given one on, in byte order,
// until fn returns false. fn must not keep value, nor call the store. A row that
// is damaged is passed over.
func (s *Store) Each(table, from string, fn func(key string, value []byte) bool) error {
	s.mu.RLock()
	over := make(map[string][]byte, len(s.rows[table]))
	var keys []string
	for k, v := range s.rows[table] {
		if k >= from {
			over[k] = v.value
			keys = append(keys, k)
		}
	}
	s.mu.RUnlock()
	sort.Strings(keys)
	// give hands on the overlaid rows before the key of state.db, or all of them.
	give := func(before string, all bool) bool {
		for len(keys) > 0 && (all || keys[0] < before) {
			k := keys[0]
			keys = keys[1:]
			if over[k] != nil && !fn(k, over[k]) {
				return false
			}
		}
		return true
	}
	stopped := false
	err := s.state.view(func(tx *bolt.Tx) error {
		bucket := bucketOf(table)
		b := tx.Bucket(bucket)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, stored := c.Seek([]byte(from)); k != nil; k, stored = c.Next() {
			v, ok := unseal(bucket, k, stored)
			if !ok {
				s.log.Error("row is damaged", "table", table, "key", fmt.Sprintf("%.64q", k))
				continue
			}
			key := string(k)
			if !give(key, false) {
				stopped = true
				return nil
			}
			if _, ok := over[key]; ok {
				continue
			}
			if !fn(key, v) {
				stopped = true
				return nil
			}
		}
		return nil
	})
	if err == nil && !stopped {
		give("", true)
	}
	return err
}

// The tables whose rows tell of an n in their first 8 bytes, big endian: they
// are cut when a new epoch begins below it.
const (
	tableCursors     = "cursors"
	tableMailboxes   = "mailboxes"
	tableIdempotency = "idempotency"
)

// Mailbox is a named, durable position in n.
type Mailbox struct {
	Name string
	N    uint64
	Rest []byte // the caller's own
}

// MailboxRow is the row that makes or moves a mailbox.
func MailboxRow(m Mailbox) Row {
	return Row{tableMailboxes, m.Name, append(binary.BigEndian.AppendUint64(nil, m.N), m.Rest...)}
}

// DropMailboxRow is the row that removes a mailbox.
func DropMailboxRow(name string) Row { return Row{Table: tableMailboxes, Key: name} }

func parseMailbox(name string, v []byte) (Mailbox, bool) {
	if len(v) < 8 {
		return Mailbox{}, false
	}
	return Mailbox{name, binary.BigEndian.Uint64(v), slices.Clone(v[8:])}, true
}

// Mailbox gives one mailbox.
func (s *Store) Mailbox(name string) (Mailbox, bool) {
	v, ok := s.Get(tableMailboxes, name)
	if !ok {
		return Mailbox{}, false
	}
	return parseMailbox(name, v)
}

// Mailboxes gives all mailboxes, sorted by name.
func (s *Store) Mailboxes() []Mailbox {
	var out []Mailbox
	err := s.Each(tableMailboxes, "", func(key string, v []byte) bool {
		if m, ok := parseMailbox(key, v); ok {
			out = append(out, m)
		}
		return true
	})
	if err != nil && s.alive() {
		s.log.Error("mailboxes can't be read", "error", err)
	}
	return out
}
