package queue

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// countedFile is one whose reading is countedFile.
type countedFile struct {
	io.ReaderAt
	read int64
}

func (c *countedFile) ReadAt(p []byte, at int64) (int, error) {
	c.read += int64(len(p))
	return c.ReaderAt.ReadAt(p, at)
}

// A card may give 10 MB/s: what is done to a segment before it is written to must not
// read its records.
func TestInspectReadsNoRecords(t *testing.T) {
	master := filepath.Join(tmpfs(t), "store")
	fillSegments(t, master)
	for _, path := range segmentFiles(t, master) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		c := &countedFile{ReaderAt: f}
		in := inspection{f: c, size: st.Size()}
		if err := in.run(); err != nil {
			t.Fatal(err)
		}
		if c.read > st.Size()/5 {
			t.Errorf("%d of %d bytes were read", c.read, st.Size())
		}
	}
}

// A length or a place over 2 GiB is damage on a board of 32 bits too.
func TestInspectFindsAHugeValue(t *testing.T) {
	far := &node{size: blockSize, head: make([]byte, blockSize), flags: boltLeaf, count: 1}
	binary.LittleEndian.PutUint32(far.element(0)[4:], 1<<32-boltElement)
	if _, _, err := far.key(0); err == nil {
		t.Error("a key before its element")
	}
	element := make([]byte, boltElement)
	p := &node{size: blockSize}
	for _, n := range []uint32{blockSize, 1 << 31, 1<<32 - 1} {
		binary.LittleEndian.PutUint32(element[12:], n)
		if p.leaf(element, 100, 0) == nil {
			t.Errorf("a value of %d bytes in a page", n)
		}
	}
}

// After damage in the journal the first acknowledgement waits for no segment.
func TestBrokenJournalMovesLater(t *testing.T) {
	opt := testOptions(t.TempDir())
	s := open(t, opt)
	for i := range 12 {
		put(t, s, "events", strings.Repeat(fmt.Sprint(i, " "), 100))
	}
	kill(s)
	zero(t, filepath.Join(opt.Dir, fmt.Sprintf("journal-%d", s.active)), 5*blockSize, blockSize)
	gate, asked := make(chan struct{}), make(chan struct{}, 1)
	opt.Fault = func(what string) error {
		if what == "segment create" {
			select {
			case asked <- struct{}{}:
			default:
			}
			<-gate
		}
		return nil
	}
	done := make(chan Receipt, 1)
	var again *Store
	go func() {
		again = open(t, opt)
		done <- put(t, again, "events", "acknowledged")
	}()
	select {
	case r := <-done:
		if r.Seqs[0] != 13 {
			t.Errorf("seq %d", r.Seqs[0])
		}
	case <-time.After(20 * time.Second):
		close(gate)
		t.Fatal("the first acknowledgement waits for a segment")
	}
	read := func(when string) {
		t.Helper()
		texts, holes := all(t, again, "events")
		if len(texts) != 12 || len(holes) != 1 || holes[0].From != 6 || holes[0].To != 6 || holes[0].Cause != Damage {
			t.Errorf("%s: %d records, holes %+v", when, len(texts), holes)
		}
	}
	read("before the move")
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Error("nobody moves the journal")
	}
	close(gate)
	if err := again.Move(); err != nil {
		t.Fatal(err)
	}
	read("after it")
	if n := again.Health().Unmoved; n > 1 {
		t.Errorf("%d records were not moved", n)
	}
}
