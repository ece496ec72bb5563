package backup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"fieldpost/queue"
)

func options(dir string) queue.Options {
	return queue.Options{Dir: dir, Boot: "boot-1", Serial: "board-1", Headroom: -1, SegmentEvents: 50, JournalBytes: 256 << 10}
}

func openStore(t *testing.T, dir string) *queue.Store {
	t.Helper()
	s, err := queue.Open(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fill puts n records with a word into two rings each.
func fill(t *testing.T, s *queue.Store, word string, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		text := fmt.Sprintf("%s %d", word, i)
		if _, err := s.Append(queue.Batch{Entries: []queue.Entry{{Ring: "events", Data: []byte(text)}, {Ring: "alarms", Data: []byte(text)}}}); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			if err := s.Move(); err != nil { // so that there are several segments
				t.Fatal(err)
			}
		}
	}
}

// holds proves that a store has n records with the word, whole, and gives its id and
// epoch.
func holds(t *testing.T, dir, word string, n int) (id string, epoch uint32) {
	t.Helper()
	s := openStore(t, dir)
	defer s.Close()
	for _, ring := range []string{"events", "alarms"} {
		got := 0
		for after, end := uint64(0), false; !end; {
			page, err := s.Read(ring, after, queue.Max{Records: 100})
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				if got++; it.Hole != nil || string(it.Data) != fmt.Sprintf("%s %d", word, got) {
					t.Fatalf("%s: %s: record %d is %q, hole %v", dir, ring, got, it.Data, it.Hole)
				}
			}
			after, end = page.Next, page.End
		}
		if got != n {
			t.Fatalf("%s: %s has %d records of %d", dir, ring, got, n)
		}
	}
	return s.ID(), s.Epoch()
}

// sample is a backup of a store with 120 records of the word "new" in each ring, and
// a config.
func sample(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	panel := write("data/config.d/panel.yaml", "devices: {}\n")
	main := write("etc/fieldpost.yaml", "agent: {id: box}\n")
	s := openStore(t, filepath.Join(dir, "data"))
	defer s.Close()
	fill(t, s, "new", 120)
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	var out bytes.Buffer
	m, err := Write(&out, Source{Snapshot: snap, DataDir: filepath.Join(dir, "data"), Config: []string{main, panel, filepath.Join(dir, "gone.yaml")}, LeftOut: []string{"file:/etc/key"}, Agent: "box", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Position != fmt.Sprintf("%08x.240", s.Epoch()) || m.Store != s.ID() || m.Agent != "box" || len(m.Configs()) != 1 || m.Configs()[0] != main {
		t.Fatalf("%+v", m)
	}
	if !slices.Equal(m.LeftOut, []string{"file:/etc/key", "file:" + filepath.Join(dir, "gone.yaml")}) {
		t.Fatalf("left out: %v", m.LeftOut)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	file := sample(t)
	var last, of int64
	calls := 0
	told := func(done, total int64) {
		if calls++; done <= last || total < done {
			t.Errorf("progress went from %d to %d of %d", last, done, total)
		}
		last, of = done, total
	}
	m, err := Check(bytes.NewReader(file), told)
	if err != nil || calls < len(m.Members) || last != m.Bytes() || of != last {
		t.Fatalf("%d calls, %d bytes of %d: %v", calls, last, of, err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	last = 0
	done, err := Restore(bytes.NewReader(file), Options{Dir: dir, Progress: told})
	if err != nil || done.Aside != "" || last != m.Bytes() {
		t.Fatal(done, last, err)
	}
	id, epoch := holds(t, dir, "new", 120)
	if id == m.Store || id == "" || fmt.Sprintf("%08x", epoch) == m.Epoch {
		t.Fatalf("id %s, epoch %08x; it was %s, %s", id, epoch, m.Store, m.Epoch)
	}
	for name, want := range map[string]string{"config.d/panel.yaml": "devices: {}\n", "config.restored" + m.Configs()[0]: "agent: {id: box}\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s is %q: %v", name, got, err)
		}
	}
	if again, _ := holds(t, dir, "new", 120); again != id {
		t.Error("each start has another id")
	}
}

// TestTwoRestores: the second one neither takes nor clears the folder that the first
// fills, where there is no store yet whose lock would keep it out.
func TestTwoRestores(t *testing.T) {
	file := sample(t)
	dir := filepath.Join(t.TempDir(), "data")
	var second error
	_, err := Restore(bytes.NewReader(file), Options{Dir: dir, Step: func(step string) {
		if step == "unpack store/rings/events/00000000000000000051.seg" {
			_, second = Restore(bytes.NewReader(file), Options{Dir: dir})
		}
	}})
	if second == nil || !strings.Contains(second.Error(), "another restore") {
		t.Errorf("the second one: %v", second)
	}
	if err != nil {
		t.Fatal(err)
	}
	holds(t, dir, "new", 120)
}

// TestRestoreMovesAside: what is there is refused, or kept.
func TestRestoreMovesAside(t *testing.T) {
	file := sample(t)
	dir := filepath.Join(t.TempDir(), "data")
	s := openStore(t, dir)
	fill(t, s, "old", 30)
	for _, replace := range []bool{false, true} {
		if _, err := Restore(bytes.NewReader(file), Options{Dir: dir, Replace: replace}); !errors.Is(err, queue.ErrLocked) {
			t.Fatalf("a store that is open was replaced: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(bytes.NewReader(file), Options{Dir: dir}); !errors.Is(err, ErrNotEmpty) {
		t.Fatalf("a store was replaced: %v", err)
	}
	holds(t, dir, "old", 30)
	for n, want := range []string{dir + ".before-restore", dir + ".before-restore-2"} {
		done, err := Restore(bytes.NewReader(file), Options{Dir: dir, Replace: true})
		if err != nil || done.Aside != want {
			t.Fatal(n, done, err)
		}
		holds(t, dir, "new", 120)
	}
	holds(t, dir+".before-restore", "old", 30)
	empty := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(empty, 0o750); err != nil {
		t.Fatal(err)
	}
	if done, err := Restore(bytes.NewReader(file), Options{Dir: empty}); err != nil || done.Aside != "" {
		t.Fatal(done, err)
	}
	if st, err := os.Stat(empty); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("the folder is not as open as it was: %v %v", st.Mode(), err)
	}
	onlyHas(t, filepath.Dir(empty), "data")

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if done, err := Restore(bytes.NewReader(file), Options{Dir: link, Replace: true}); err != nil || done.Aside != dir+".before-restore-3" {
		t.Fatal(done, err)
	}
	holds(t, link, "new", 120)
	onlyHas(t, filepath.Dir(link), "link")
}

// onlyHas proves that a folder has these names and no others.
func onlyHas(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, names) {
		t.Fatalf("%s has %v, want %v", dir, got, names)
	}
}

// refused restores over an old store, which must fail and leave all as it was.
func refused(t *testing.T, dir string, file []byte, words string) {
	t.Helper()
	_, err := Restore(bytes.NewReader(file), Options{Dir: dir, Replace: true})
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Fatalf("got %v, want an error with %q", err, words)
	}
	onlyHas(t, filepath.Dir(dir), "data")
}

func oldStore(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s := openStore(t, dir)
	fill(t, s, "old", 30)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRestoreOnAFullDisk: one that is too small, and one that fills up meanwhile.
func TestRestoreOnAFullDisk(t *testing.T) {
	file := sample(t)
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=48m"); err != nil {
		t.Fatalf("mount a tmpfs: %v: this test needs root (CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	dir := filepath.Join(disk, "data")
	s := openStore(t, dir)
	fill(t, s, "old", 30)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(bytes.NewReader(file), Options{Dir: disk, Replace: true}); err == nil || !strings.Contains(err.Error(), "mounted") {
		t.Fatalf("a mounted file system was replaced: %v", err)
	}
	taken := filepath.Join(disk, "taken")
	takeAll := func() {
		f, err := os.Create(taken)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for size := 1 << 20; size >= 1; {
			if _, err := f.Write(make([]byte, size)); err != nil {
				size /= 2
			}
		}
	}
	for _, at := range []string{"clear", "unpack store/state.db", "unpack store/rings/events/00000000000000000051.seg", "renew"} {
		reached := false
		_, err := Restore(bytes.NewReader(file), Options{Dir: dir, Replace: true, Step: func(step string) {
			if step == at {
				takeAll()
				reached = true
			}
		}})
		if !reached || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("full at %q (reached %v): %v", at, reached, err)
		}
		if err := os.Remove(taken); err != nil {
			t.Fatal(err)
		}
		onlyHas(t, disk, "data")
		holds(t, dir, "old", 30)
	}
	if _, err := Restore(bytes.NewReader(file), Options{Dir: dir, Replace: true}); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, "new", 120)
}

// errCut is a power cut.
var errCut = errors.New("cut")

// until restores up to a step, and ends there as a power cut would.
func until(t *testing.T, file []byte, dir string, at int, exchange func(a, b string) error) (steps []string, done bool) {
	t.Helper()
	defer func() {
		if x := recover(); x != nil && x != errCut {
			panic(x)
		}
	}()
	_, err := Restore(bytes.NewReader(file), Options{Dir: dir, Replace: true, exchange: exchange, Step: func(step string) {
		steps = append(steps, step)
		if len(steps) == at {
			panic(errCut)
		}
	}})
	if err != nil {
		t.Fatalf("stopped before step %d: %v", at, err)
	}
	return steps, true
}

// TestPowerCut: whatever step a power cut comes before, there is a whole store, the
// old or the new one; the next restore works, and the old store is never gone.
func TestPowerCut(t *testing.T) {
	file := sample(t)
	t.Run("exchange", func(t *testing.T) { powerCuts(t, file, nil, "aside") })
	t.Run("two renames", func(t *testing.T) {
		powerCuts(t, file, func(string, string) error { return unix.EINVAL }, "place")
	})
}

func powerCuts(t *testing.T, file []byte, exchange func(a, b string) error, end string) {
	for at := 1; ; at++ {
		dir := oldStore(t)
		steps, done := until(t, file, dir, at, exchange)
		last := steps[len(steps)-1]
		if done {
			if at < 10 || last != end {
				t.Fatalf("the steps are %v", steps)
			}
			return
		}
		switch last {
		case "aside":
			holds(t, dir, "new", 120)
		case "place":
			holds(t, dir+".before-restore", "old", 30)
		default:
			holds(t, dir, "old", 30)
		}
		if _, done := until(t, file, dir, 0, exchange); !done {
			t.Fatal("the next one was stopped")
		}
		holds(t, dir, "new", 120)
		kept, err := filepath.Glob(dir + ".before-restore*")
		if err != nil || len(kept) == 0 {
			t.Fatalf("cut before %q: nothing was kept: %v", last, err)
		}
		old := 0
		for _, k := range kept {
			s := openStore(t, k)
			if item, err := s.One("events", 1); err == nil && string(item.Data) == "old 1" {
				old++
			}
			s.Close()
		}
		if old != 1 {
			t.Fatalf("cut before %q: the old store is in %d of %v", last, old, kept)
		}
		if _, err := os.Lstat(dir + ".new"); err == nil {
			t.Fatalf("cut before %q: a half one is left", last)
		}
	}
}
