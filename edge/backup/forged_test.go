package backup

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

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
