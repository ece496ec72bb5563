package queue

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestDamagedState(t *testing.T) {
	for _, how := range []string{"zeroed", "empty", "gone", "cut"} {
		t.Run(how, func(t *testing.T) {
			opt := testOptions(tmpfs(t))
			s := open(t, opt)
			for i := 1; i <= 250; i++ {
				put(t, s, "events", fmt.Sprintf("record %d", i))
			}
			id, epochs := s.ID(), s.Epochs()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(opt.Dir, "state.db")
			switch st, _ := os.Stat(path); how {
			case "zeroed":
				zero(t, path, 0, st.Size())
			case "empty":
				cut(t, path, 0)
			case "cut":
				cut(t, path, 12) // into the pages in use: behind them it has room to grow
			case "gone":
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			s = open(t, opt)
			if s.ID() != id || len(s.Epochs()) != len(epochs)+1 || s.Epochs()[0].ID != epochs[0].ID {
				t.Fatalf("id %s, epochs %+v; were %s, %+v", s.ID(), s.Epochs(), id, epochs)
			}
			if r := put(t, s, "events", "record 251"); r.Seqs[0] != 251 || r.First != 251 {
				t.Fatalf("%+v", r)
			}
			if got, holes := all(t, s, "events"); fmt.Sprint(got) != fmt.Sprint(texts(1, 251)) || holes != nil {
				t.Fatalf("%d records, holes %v", len(got), holes)
			}
		})
	}
}

// What state.db says of the store as a whole can be lost while its rows are not:
// keys of clients and cursors stay.
func TestDamagedStateKeepsRows(t *testing.T) {
	opt := testOptions(tmpfs(t))
	s := open(t, opt)
	put(t, s, "events", texts(1, 20)...)
	s.Cursor("cloud").Ack("events", Range{1, 7})
	if _, err := s.Append(Batch{Rows: []Row{{"keys", "kitchen", []byte("hash")}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(opt.Dir, "state.db")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.ReplaceAll(raw, []byte(`{"format":2`), []byte(`?"format":2`))
	if bytes.Equal(broken, raw) {
		t.Fatal("nothing to damage")
	}
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	if v, ok := s.Get("keys", "kitchen"); !ok || string(v) != "hash" {
		t.Fatalf("row %q %v", v, ok)
	}
	if next := s.Cursor("cloud").Next("events"); next != 8 {
		t.Fatalf("cursor at %d", next)
	}
	if r := put(t, s, "events", "record 21"); r.Seqs[0] != 21 || len(s.Epochs()) != 2 {
		t.Fatalf("%+v, epochs %+v", r, s.Epochs())
	}
}
