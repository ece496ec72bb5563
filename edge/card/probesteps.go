package card

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const block = 4096

// flush4k overwrites one block after the other and flushes each, as a journal
// does, and looks whether the devices below saw the flushes.
func (p *Probe) flush4k(ctx context.Context, a amounts, m *Measures) (err error) {
	before, err := p.flushes()
	if err != nil {
		return err
	}
	if m.Flush4k, err = p.overwrite(ctx, block, a.flush4k, a.within); err != nil {
		return err
	}
	after, err := p.flushes()
	for name, n := range after {
		m.Taken[name] = n - before[name]
	}
	m.Asked = m.Flush4k.Count
	return err
}

// flushes reads the counts of the devices that have one.
func (p *Probe) flushes() (map[string]uint64, error) {
	out := map[string]uint64{}
	for _, d := range p.Place.Devices {
		if !d.CountsFlushes {
			continue
		}
		c, err := d.Counters()
		if err != nil {
			return nil, err
		}
		out[d.Name] = c.Flushes
	}
	return out, nil
}

func (p *Probe) flush64k(ctx context.Context, a amounts, m *Measures) (err error) {
	m.Flush64k, err = p.overwrite(ctx, 16*block, a.flush64k, a.within)
	return err
}

func (p *Probe) flush256k(ctx context.Context, a amounts, m *Measures) (err error) {
	m.Flush256k, err = p.overwrite(ctx, 64*block, a.flush256k, a.within)
	return err
}

// overwrite times writes of a size into a file that is written already, each
// with a flush.
func (p *Probe) overwrite(ctx context.Context, size, times int, within time.Duration) (*Timing, error) {
	span := min(int64(times)*int64(size), 2<<20)
	f, err := p.prewritten("overwrite", span)
	if err != nil {
		return nil, err
	}
	defer drop(f)
	buf := pattern(size, 1)
	t, err := repeat(ctx, times, within, func(i int) error {
		buf[0] = byte(i) // no layer may find that nothing changed
		if err := p.write(f, buf, int64(i)*int64(size)%span); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.Fd()))
	})
	return &t, err
}

// prewritten makes a file with random content on the disk.
func (p *Probe) prewritten(name string, size int64) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(p.Dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = p.write(f, pattern(int(size), 2), 0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		drop(f)
		return nil, err
	}
	return f, nil
}

// write writes and counts.
func (p *Probe) write(f *os.File, b []byte, at int64) error {
	n, err := f.WriteAt(b, at)
	p.written.Add(int64(n))
	return err
}

// drop closes and removes a file; what is left of it goes with the folder.
func drop(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// pattern is content that can't be compressed, the same for the same seed.
func pattern(size int, seed uint64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b) // it never fails
	return b
}

// aligned is memory that direct I/O takes.
func aligned(size int) ([]byte, func(), error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("map memory: %w", err)
	}
	return b, func() { _ = unix.Munmap(b) }, nil
}

// direct times writes past the page cache without a flush. A file system that
// takes none is left out.
func (p *Probe) direct(ctx context.Context, a amounts, m *Measures) error {
	f, err := p.prewritten("direct", int64(a.direct)*block)
	if err != nil {
		return err
	}
	defer drop(f)
	d, err := os.OpenFile(f.Name(), os.O_WRONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	buf, free, err := aligned(block)
	if err != nil {
		return err
	}
	defer free()
	copy(buf, pattern(block, 3))
	t, err := repeat(ctx, a.direct, a.within, func(i int) error {
		return p.write(d, buf, int64(i)*block)
	})
	if errors.Is(err, unix.EINVAL) { // its blocks are larger than ours
		return nil
	}
	m.Direct = &t
	return err
}

// busy times the flush of 4 kB while another file is written and flushed in runs
// of 64 kB.
func (p *Probe) busy(ctx context.Context, a amounts, m *Measures) error {
	other, err := p.prewritten("busy", 1<<20)
	if err != nil {
		return err
	}
	defer drop(other)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		defer stop()
		buf := pattern(16*block, 4)
		_, err := repeat(ctx, a.busy, a.within, func(i int) error {
			if err := p.write(other, buf, int64(i)*int64(len(buf))%(1<<20)); err != nil {
				return err
			}
			return unix.Fdatasync(int(other.Fd()))
		})
		done <- err
	}()
	f, err := p.prewritten("flushed", 1<<20)
	if err == nil {
		m.Busy, err = p.flushUntil(ctx, f, a.flush4k)
		drop(f)
	}
	stop()
	if werr := <-done; err == nil && !errors.Is(werr, context.Canceled) {
		err = werr
	}
	return err
}

// flushUntil flushes blocks until ctx is done, and at most so many.
func (p *Probe) flushUntil(ctx context.Context, f *os.File, times int) (*Timing, error) {
	buf := pattern(block, 5)
	took := make([]time.Duration, 0, times)
	for i := 0; i < times && (ctx.Err() == nil || i == 0); i++ {
		now := time.Now()
		if err := p.write(f, buf, int64(i)*block%(1<<20)); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		took = append(took, time.Since(now))
	}
	t := timingOf(took)
	return &t, nil
}

// files times what a new segment costs: a file made, flushed, and its folder.
func (p *Probe) files(ctx context.Context, a amounts, m *Measures) error {
	dir, err := os.Open(p.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	buf := pattern(block, 6)
	t, err := repeat(ctx, a.files, a.within, func(i int) error {
		f, err := os.OpenFile(filepath.Join(p.Dir, fmt.Sprintf("new-%d", i)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer drop(f)
		if err := p.write(f, buf, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return dir.Sync()
	})
	m.NewFile = &t
	return err
}

// sequential times a long write with one flush at its end.
func (p *Probe) sequential(ctx context.Context, a amounts, m *Measures) error {
	f, err := os.OpenFile(filepath.Join(p.Dir, "long"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer drop(f)
	buf := pattern(1<<20, 7)
	begun, wrote := time.Now(), int64(0)
	for wrote < a.sequential && time.Since(begun) < a.within {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := p.write(f, buf, wrote); err != nil {
			return err
		}
		wrote += int64(len(buf))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	m.Sequential = float64(wrote) / time.Since(begun).Seconds()
	return nil
}

// readBack reads from the device what was flushed to it.
func (p *Probe) readBack(ctx context.Context, a amounts, m *Measures) error {
	f, err := p.prewritten("back", a.readBack)
	if err != nil {
		return err
	}
	defer drop(f)
	want := pattern(int(a.readBack), 2)
	how := "same"
	r, err := os.OpenFile(f.Name(), os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		how = "same, through the cache"
		r, err = os.Open(f.Name())
	}
	if err != nil {
		return err
	}
	defer r.Close()
	got, free, err := aligned(int(a.readBack))
	if err != nil {
		return err
	}
	defer free()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// A direct read must not end inside a block: the file is whole blocks.
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if m.ReadBack = how; !bytes.Equal(got, want) {
		m.ReadBack = "different"
	}
	return nil
}
