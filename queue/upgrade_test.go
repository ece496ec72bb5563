package queue

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// unsealAll takes the checksums out of a bbolt file, as format 1 had none.
func unsealAll(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if slices.Equal(name, bucketBlocks) {
				return nil
			}
			rows := map[string][]byte{}
			err := b.ForEach(func(k, stored []byte) error {
				v, ok := unseal(name, k, stored)
				if !ok {
					t.Fatalf("%s %s has no checksum", name, k)
				}
				if slices.Equal(k, keyAbout) {
					var a about
					if err := json.Unmarshal(v, &a); err != nil {
						return err
					}
					a.Format, a.Rows = 1, nil
					v, _ = json.Marshal(a) // texts and numbers
				}
				rows[string(k)] = slices.Clone(v)
				return nil
			})
			for k, v := range rows {
				if err == nil {
					err = b.Put([]byte(k), v)
				}
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFormat1: a store whose rows have no checksums keeps its records, rows, cursors,
// holes and epoch.
func TestFormat1(t *testing.T) {
	opt := testOptions(t.TempDir())
	opt.Rings = map[string]Limits{"small": {Keep: 5}}
	s := open(t, opt)
	put(t, s, "events", texts(1, 250)...)
	put(t, s, "small", texts(1, 20)...)
	s.Cursor("up").Ack("events", Range{1, 100})
	if _, err := s.Append(Batch{Rows: []Row{{"keys", "phone", []byte("secret")}, MailboxRow(Mailbox{Name: "box", N: 7})}}); err != nil {
		t.Fatal(err)
	}
	epochs := s.Epochs()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(opt.Dir, "rings", "*", "*.seg"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, path := range append(files, filepath.Join(opt.Dir, "state.db")) {
		unsealAll(t, path)
	}
	for range 2 { // then it is of format 2
		s = open(t, opt)
		got, holes := all(t, s, "events")
		if !slices.Equal(got, texts(1, 250)) || len(holes) != 0 {
			t.Fatalf("%d records, holes %v", len(got), holes)
		}
		got, holes = all(t, s, "small")
		if !slices.Equal(got, texts(16, 20)) || len(holes) != 1 || holes[0].Cause != Evicted || holes[0].To != 15 {
			t.Fatalf("%d records, holes %+v", len(got), holes)
		}
		key, _ := s.Get("keys", "phone")
		box, _ := s.Mailbox("box")
		if string(key) != "secret" || box.N != 7 || s.Cursor("up").Next("events") != 101 {
			t.Fatalf("key %q, mailbox at %d, cursor at %d", key, box.N, s.Cursor("up").Next("events"))
		}
		if now := s.Epochs(); len(now) != len(epochs) || now[0].ID != epochs[0].ID {
			t.Fatalf("epochs %v, were %v", now, epochs)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
