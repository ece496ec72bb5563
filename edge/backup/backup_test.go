package backup

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
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

// TestCutAndFlipped: a file that was cut off anywhere, or of which any bit is
// another, replaces nothing.
func TestCutAndFlipped(t *testing.T) {
	file, dir := sample(t), oldStore(t)
	for n := range 24 {
		refused(t, dir, file[:len(file)*n/24], "")
	}
	refused(t, dir, file[:len(file)-1], "")
	harmless := 0
	for n := range 60 {
		bad := bytes.Clone(file)
		at := len(bad)*n/60 + n%7
		bad[at] ^= 1 << (n % 8)
		if _, err := Check(bytes.NewReader(bad), nil); err == nil { // a size of a buffer in the head of the packed data, no more
			t.Logf("byte %d may be another", at)
			harmless++
			continue
		}
		refused(t, dir, bad, "")
	}
	if harmless > 2 {
		t.Errorf("%d of 60 bits may be others", harmless)
	}
	refused(t, dir, append(bytes.Clone(file), "something more"...), "")
	refused(t, dir, []byte("hello, I am a text"), "no backup")
	holds(t, dir, "old", 30)
}

// entry is a member of a tar as a test makes it.
type entry struct {
	tar.Header
	body []byte
}

func entriesOf(t *testing.T, file []byte) (all []entry) {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{*h, body})
	}
}

func pack(t *testing.T, all []entry) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, e := range all {
		e.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// remade changes the manifest of a backup.
func remade(t *testing.T, all []entry, change func(*Manifest)) []entry {
	t.Helper()
	var m Manifest
	if err := json.Unmarshal(all[0].body, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := slices.Clone(all)
	out[0].body = text
	return out
}

// TestForgedMembers: whole tars that no backup is.
func TestForgedMembers(t *testing.T) {
	file, dir := sample(t), oldStore(t)
	all := entriesOf(t, file)
	if all[1].Name != "store/state.db" || all[len(all)-1].Name != "sums.json" || !slices.Equal(entriesOf(t, pack(t, all))[1].body, all[1].body) {
		t.Fatal("the test packs something else")
	}
	if _, err := Check(bytes.NewReader(pack(t, all)), nil); err != nil {
		t.Fatal(err)
	}
	change := func(at int, f func(*entry)) []entry {
		out := slices.Clone(all)
		f(&out[at])
		return out
	}
	for _, name := range []string{"../out", "/etc/passwd", "store/../../out", "store/rings/../out.seg", "config/../../out", "store/rings/.x/1.seg", "store/state.db/x", "lock", "store/journal-0", "config.d/", "", "store/rings/a/b/1.seg"} {
		refused(t, dir, pack(t, remade(t, all, func(m *Manifest) { m.Members[1].Name = name })), "no backup has")
	}
	refused(t, dir, pack(t, change(2, func(e *entry) { e.Name = "../out" })), "in the place of")
	refused(t, dir, pack(t, change(2, func(e *entry) { e.Typeflag, e.Linkname, e.body = tar.TypeSymlink, "/etc/passwd", nil })), "no plain file")
	refused(t, dir, pack(t, change(2, func(e *entry) { e.Typeflag, e.Linkname, e.body = tar.TypeLink, "store/state.db", nil })), "no plain file")
	refused(t, dir, pack(t, change(2, func(e *entry) { e.Typeflag, e.body = tar.TypeDir, nil })), "no plain file")
	refused(t, dir, pack(t, change(2, func(e *entry) { e.body = append(bytes.Clone(e.body), 0) })), "the manifest says")
	refused(t, dir, pack(t, change(2, func(e *entry) { e.body = e.body[1:] })), "the manifest says")
	refused(t, dir, pack(t, change(2, func(e *entry) { e.body = bytes.Clone(e.body); e.body[99] ^= 1 })), "its sum is another")
	refused(t, dir, pack(t, slices.Delete(slices.Clone(all), 2, 3)), "in the place of")
	refused(t, dir, pack(t, all[:len(all)-1]), "cut off")
	refused(t, dir, pack(t, append(slices.Clone(all), all[2])), "more in it")
	refused(t, dir, pack(t, remade(t, all, func(m *Manifest) { m.Format = 99 })), "newer fieldpost")
	refused(t, dir, pack(t, remade(t, all, func(m *Manifest) { m.Members[1] = m.Members[0] })), "no backup has")
	refused(t, dir, pack(t, remade(t, all, func(m *Manifest) { m.Members = nil })), "no store")
	refused(t, dir, pack(t, remade(t, all, func(m *Manifest) { m.Members[1].Size = 1 << 50 })), "no space left")
	refused(t, dir, pack(t, remade(t, all, func(m *Manifest) { // more than a number can say
		m.Members[1].Size, m.Members[2].Size = 1<<62, 1<<62
	})), "no space left")
	refused(t, dir, pack(t, remade(t, all, func(m *Manifest) { m.Agent = "another" })), "its sum is another")
	refused(t, dir, pack(t, all[1:]), "in the place of")
	refused(t, dir, pack(t, change(0, func(e *entry) { e.body = make([]byte, maxManifest+1) })), "no backup's has")
	refused(t, dir, pack(t, nil), "cut off")
	holds(t, dir, "old", 30)
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
