package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// mountSmall mounts a file system in memory of the given size.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root, as CI and make test in a container have it")
	}
	dir := t.TempDir()
	if err := syscall.Mount("fieldpost-test", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDiskRecovers(t *testing.T) {
	dir := mountSmall(t, "4m")
	opt := testOptions(filepath.Join(dir, "store"))
	opt.JournalBytes, opt.MoveEvery = 256<<10, 20*time.Millisecond
	s := open(t, opt)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	stored := uint64(0)
	var err error
	for i := range uint64(20_000) {
		if _, err = s.Append(Batch{Entries: []Entry{{Ring: "events", Data: noise(i, 1000)}}}); err != nil {
			break
		}
		stored++
	}
	if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d records: %v", stored, err)
	}
	if h := s.Health(); !h.Full || h.Err == nil {
		t.Fatalf("%+v", h)
	}
	got, holes := all(t, s, "events") // reading goes on
	if uint64(len(got)) != stored || holes != nil {
		t.Fatalf("%d of %d records, holes %v", len(got), stored, holes)
	}
	kill(s) // a power cut on a full disk
	opt.Boot = "boot-2"
	s = open(t, opt)
	if got, _ := all(t, s, "events"); uint64(len(got)) != stored {
		t.Fatalf("after a restart %d of %d records", len(got), stored)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err = s.Append(Batch{Entries: []Entry{{Ring: "events", Data: noise(0, 1000)}}}); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("space came back, yet: %v", err)
		}
	}
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	if h := s.Health(); h.Full || h.Err != nil {
		t.Fatalf("%+v", h)
	}
	if got, holes := all(t, s, "events"); uint64(len(got)) != stored+1 || holes != nil {
		t.Fatalf("%d records, %d stored", len(got), stored+1)
	}
}

func TestHeadroomEvictsAndSaysSo(t *testing.T) {
	dir := mountSmall(t, "8m")
	opt := testOptions(filepath.Join(dir, "store"))
	opt.Headroom, opt.JournalBytes = 3<<20, 256<<10
	s := open(t, opt)
	for i := range uint64(3000) {
		if _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: noise(i, 4000)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	got, holes := all(t, s, "events")
	if len(holes) != 1 || holes[0].Cause != Headroom || holes[0].To+uint64(len(got)) != 3000 {
		t.Fatalf("%d records, holes %+v", len(got), holes)
	}
}

// TestHeadroomMakesRoomOnAFullDisk: where a move finds no room, what the headroom
// takes has to leave the disk before the move can end.
func TestHeadroomMakesRoomOnAFullDisk(t *testing.T) {
	dir := mountSmall(t, "12m")
	opt := testOptions(filepath.Join(dir, "store"))
	opt.Headroom, opt.JournalBytes, opt.SegmentBytes = 3<<20, 2<<20, 1<<20
	opt.MoveEvery = 10 * time.Millisecond
	s := open(t, opt)
	data, stored := make([]byte, 4000), 0
	rnd := rand.New(rand.NewPCG(1, 2))
	deadline := time.Now().Add(20 * time.Second)
	for stored < 8000 { // more than twice what the disk holds
		for i := range data {
			data[i] = byte(rnd.Uint32()) // compresses to nothing less
		}
		switch _, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: data}}}); {
		case err == nil:
			stored++
		case !errors.Is(err, ErrFull):
			t.Fatal(err)
		case time.Now().After(deadline):
			t.Fatalf("full for good after %d records: %v", stored, err)
		}
	}
	got, holes := all(t, s, "events")
	gone := 0
	for _, h := range holes { // more than one: the mover may evict while they are read
		gone += int(h.To - h.From + 1)
		if h.Cause != Headroom {
			t.Fatalf("hole %+v", h)
		}
	}
	if gone == 0 || gone+len(got) != stored {
		t.Fatalf("%d of %d records, holes %+v", len(got), stored, holes)
	}
}

func TestReadOnlyDiskRecovers(t *testing.T) {
	dir := mountSmall(t, "8m")
	opt := testOptions(filepath.Join(dir, "store"))
	opt.MoveEvery = 20 * time.Millisecond
	s := open(t, opt)
	put(t, s, "events", texts(1, 30)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remount(t, dir, syscall.MS_RDONLY)
	s = open(t, opt) // a start on it reads
	if got, _ := all(t, s, "events"); len(got) != 30 {
		t.Fatalf("%d records", len(got))
	}
	_, err := s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte("no")}}})
	if !errors.Is(err, syscall.EROFS) || !s.Health().ReadOnly {
		t.Fatalf("append: %v, %+v", err, s.Health())
	}
	remount(t, dir, 0)
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err = s.Append(Batch{Entries: []Entry{{Ring: "events", Data: []byte("record 31")}}}); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("writable again, yet: %v", err)
		}
	}
	if got, holes := all(t, s, "events"); fmt.Sprint(got) != fmt.Sprint(texts(1, 31)) || holes != nil {
		t.Fatalf("%d records", len(got))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// On a disk so full that state.db can't grow by a page, the hole of an eviction
// can be written only after the eviction made room.
func TestHeadroomBeforeItsHole(t *testing.T) {
	opt := testOptions(t.TempDir())
	var full, evicted atomic.Bool
	opt.Fault = func(step string) error {
		if step == "evict" {
			evicted.Store(true)
		}
		if step == "state commit" && full.Load() && !evicted.Load() {
			return syscall.ENOSPC
		}
		return nil
	}
	opt.Headroom = 1 // none is missing yet
	s := open(t, opt)
	put(t, s, "events", texts(1, 100)...)
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "events", texts(101, 150)...) // a second segment
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opt.Headroom = 1 << 60
	s = open(t, opt)
	full.Store(true)
	put(t, s, "events", "record 151")
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	got, holes := all(t, s, "events")
	if fmt.Sprint(got) != fmt.Sprint(texts(101, 151)) || len(holes) != 1 || holes[0].Cause != Headroom {
		t.Fatalf("%d records, holes %+v", len(got), holes)
	}
}

// TestReadOnlyDiskWithAnUnfilledSegment: what a start would remove stays, and all
// is read.
func TestReadOnlyDiskWithAnUnfilledSegment(t *testing.T) {
	dir := mountSmall(t, "8m")
	opt := testOptions(filepath.Join(dir, "store"))
	s := open(t, opt)
	put(t, s, "events", texts(1, 100)...)
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "events", "record 101")
	if err := os.WriteFile(segmentPath(filepath.Join(opt.Dir, "rings", "events"), 101), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kill(s)
	remount(t, dir, syscall.MS_RDONLY)
	s = open(t, opt)
	if got, holes := all(t, s, "events"); len(got) != 101 || holes != nil {
		t.Fatalf("%d records, holes %+v", len(got), holes)
	}
	remount(t, dir, 0)
	appendSoon(t, s, "record 102")
	if err := s.Move(); err != nil {
		_ = s.Move() // the first finds the file
	}
	if got, holes := all(t, s, "events"); len(got) != 102 || holes != nil {
		t.Fatalf("%d records, holes %+v", len(got), holes)
	}
}

// TestStillCommits: a file system that takes no names is told, a full one is not.
func TestStillCommits(t *testing.T) {
	dir := mountSmall(t, "8m")
	check := func(want error) {
		t.Helper()
		if err := stillCommits(dir); !errors.Is(err, want) || want == nil && err != nil {
			t.Fatalf("%v, want %v", err, want)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) > 1 {
			t.Fatalf("%v, %v", files, err)
		}
	}
	check(nil)
	_ = os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 9<<20), 0o600) // as much as there is room for
	check(nil)
	remount(t, dir, syscall.MS_RDONLY)
	check(syscall.EROFS)
	remount(t, dir, 0)
	check(nil)
}

// remount changes how a small file system is mounted.
func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("fieldpost-test", dir, "tmpfs", syscall.MS_REMOUNT|flags, "size=8m"); err != nil {
		t.Fatal(err)
	}
}
