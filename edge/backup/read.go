package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Progress is told how many bytes of all members were read, after each piece. It
// must return at once.
type Progress func(done, total int64)

// Check reads a backup to its end, writes nothing, and gives its manifest where
// every member is there and has its sum. progress may be nil.
func Check(r io.Reader, progress Progress) (*Manifest, error) {
	m, err := read(r, progress, func(*Manifest) error { return nil }, func(Member, io.Reader) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	return m, nil
}

// errEarly: the file was cut off.
var errEarly = errors.New("it ends before its end: it is cut off")

// read walks a backup. begin gets the manifest before anything else is read, and
// each every member in its order, with what is to be read of it. They must not be
// believed before read returned nil: the sums come last.
func read(r io.Reader, progress Progress, begin func(*Manifest) error, each func(Member, io.Reader) error) (*Manifest, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	w := &walk{tar: tar.NewReader(z), sums: map[string]string{}}
	m, err := w.manifest()
	if err == nil {
		w.meter = meter{told: progress, total: m.Bytes()}
		err = begin(m)
	}
	for i := 0; err == nil && i < len(m.Members); i++ {
		err = w.member(m.Members[i], each)
	}
	if err == nil {
		err = w.end()
	}
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(z, maxManifest)) // the packed data has a sum of its own
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, errEarly
	case errors.Is(err, zstd.ErrMagicMismatch):
		return nil, errors.New("it is no backup of fieldpost")
	case err != nil:
		return nil, err
	}
	return m, nil
}

// walk reads members and their sums.
type walk struct {
	tar   *tar.Reader
	sums  map[string]string // as they were read
	meter meter
}

// meter counts what goes by.
type meter struct {
	told        Progress
	done, total int64
}

func (m *meter) Write(b []byte) (int, error) {
	m.done += int64(len(b))
	if m.told != nil {
		m.told(m.done, m.total)
	}
	return len(b), nil
}

// next goes to the next member, which must be a plain file of that name.
func (w *walk) next(name string) (int64, error) {
	h, err := w.tar.Next()
	if err != nil {
		return 0, err
	}
	if h.Typeflag != tar.TypeReg {
		return 0, fmt.Errorf("%.200q is no plain file", h.Name)
	}
	if h.Name != name {
		return 0, fmt.Errorf("%.200q is in the place of %q", h.Name, name)
	}
	return h.Size, nil
}

// small reads a member of our own that is JSON.
func (w *walk) small(name string, v any) error {
	size, err := w.next(name)
	if err != nil {
		return err
	}
	if size > maxManifest {
		return fmt.Errorf("%s has %d bytes, which no backup's has", name, size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(w.tar, text); err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	w.sums[name] = hex.EncodeToString(sum[:])
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %v", name, err)
	}
	return nil
}

func (w *walk) manifest() (*Manifest, error) {
	m := &Manifest{}
	if err := w.small(manifestName, m); err != nil {
		return nil, err
	}
	return m, m.check()
}

// member hands out one member, of exactly the size that the manifest says.
func (w *walk) member(f Member, each func(Member, io.Reader) error) error {
	size, err := w.next(f.Name)
	if err != nil {
		return err
	}
	if size != f.Size {
		return fmt.Errorf("%s has %d bytes, and the manifest says %d", f.Name, size, f.Size)
	}
	sum := sha256.New()
	from := io.TeeReader(w.tar, io.MultiWriter(sum, &w.meter))
	if err := each(f, from); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, from); err != nil { // what it left
		return err
	}
	w.sums[f.Name] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// end compares the sums, and sees that nothing comes after them.
func (w *walk) end() error {
	var want map[string]string
	if err := w.small(sumsName, &want); err != nil {
		return err
	}
	delete(w.sums, sumsName)
	for name, sum := range w.sums {
		if want[name] != sum {
			return fmt.Errorf("%s is not as it was written: its sum is another", name)
		}
	}
	if _, err := w.tar.Next(); !errors.Is(err, io.EOF) {
		return errors.New("there is more in it than its manifest says")
	}
	return nil
}
