package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge/card"
)

// loopDisk mounts an ext4 of its own, so that what a card takes can be counted. It
// needs root and a kernel with loop devices.
func loopDisk(t *testing.T, megabytes int64, features, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a loop mount takes root")
	}
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "img"), filepath.Join(dir, "mnt")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(megabytes << 20)
		f.Close()
	}
	if err == nil {
		err = os.Mkdir(mount, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-O", features, image).CombinedOutput(); err != nil {
		t.Skipf("no mkfs.ext4: %v: %s", err, out)
	}
	loop, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		t.Skipf("no loop devices: %v", err)
	}
	device := strings.TrimSpace(string(loop))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	if err := unix.Mount(device, mount, "ext4", unix.MS_NOATIME, options); err != nil {
		t.Skipf("no loop mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	return mount
}

// testFolders are the folders of self-tests in dir.
func testFolders(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, testFolderPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// selftested is what a test reads of the report.
type selftested struct {
	Verdict struct {
		Answer string `json:"answer"`
	} `json:"verdict"`
	Place struct {
		FS      string `json:"fs"`
		Journal *bool  `json:"journal"`
		Devices []struct {
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"devices"`
	} `json:"place"`
	Measures struct {
		Written int64             `json:"written"`
		Asked   int               `json:"flushes_asked"`
		Taken   map[string]uint64 `json:"flushes_taken"`
	} `json:"measures"`
	Events *struct {
		Flush float64    `json:"flush"`
		Move  float64    `json:"move"`
		Bulk  float64    `json:"bulk"`
		Rates []rateCost `json:"rates"`
	} `json:"events"`
	Budget float64 `json:"budget"`
}

// TestSelftestStore: on an ext4 of its own, where nobody else writes.
func TestSelftestStore(t *testing.T) {
	disk := loopDisk(t, 256, "has_journal", "")
	s := newSandbox(t, "store: {wear: 100MB/day}\n")
	place, err := card.System{}.Find(disk)
	if err != nil {
		t.Fatal(err)
	}
	before, err := place.Device().Counters()
	if err != nil {
		t.Fatal(err)
	}
	r := s.run("selftest", "store", "--dir", disk, "--quick", "-o", "json")
	if after, err := place.Device().Counters(); err != nil || after.Written-before.Written > quickBytes {
		t.Errorf("the device took %d bytes, %v", after.Written-before.Written, err)
	}
	rep := decode[selftested](t, r)
	if rep.Verdict.Answer == "does-not" || rep.Place.FS != "ext4" || rep.Place.Journal == nil || !*rep.Place.Journal {
		t.Errorf("%s", r.out)
	}
	loop := rep.Place.Devices[0]
	if loop.Kind != "loop device" || rep.Measures.Taken[loop.Name] < uint64(rep.Measures.Asked)/2 {
		t.Errorf("the loop device took %d of %d flushes: %s", rep.Measures.Taken[loop.Name], rep.Measures.Asked, r.out)
	}
	e := rep.Events
	if e == nil || e.Flush < 3500 || e.Flush > 20_000 || e.Bulk <= 0 || e.Bulk > e.Flush/4 || len(e.Rates) != 3 || rep.Budget != 100e6 {
		t.Fatalf("%s", r.out)
	}
	for _, rate := range e.Rates {
		if rate.PerEvent < e.Flush || rate.PerDay <= 0 || rate.Years <= 0 {
			t.Errorf("%+v", rate)
		}
	}
	if e.Rates[0].PerDay < e.Rates[2].PerDay {
		t.Errorf("an event a second costs less than one a minute: %+v", e.Rates)
	}
	if left := testFolders(t, disk); len(left) != 0 || rep.Measures.Written > quickBytes {
		t.Errorf("left %v, wrote %d", left, rep.Measures.Written)
	}
	s.run("selftest", "store", "--dir", disk, "--quick").want(t, r.code, "This storage ", "FLUSH 4 kB", "one each 1s", "% of store.wear")
}

// TestSelftestFinds: what a mount and a file system do to a flush is seen on real
// ones.
func TestSelftestFinds(t *testing.T) {
	for _, c := range []struct {
		name, features, options string
		words                   []string
	}{
		{"no barriers", "has_journal", "nobarrier", []string{"does not honour a flush", "is mounted with nobarrier", "which has a cache, got none", "cure: take nobarrier out"}},
		{"no log", "^has_journal", "", []string{"no log of its own changes", "tune2fs -O has_journal /dev/loop"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := loopDisk(t, 256, c.features, c.options)
			newSandbox(t, "").run("selftest", "store", "--dir", disk, "--quick").want(t, 1, c.words...)
		})
	}
}

// TestSelftestRefusals: what can't be tested, or keeps nothing, says so.
func TestSelftestRefusals(t *testing.T) {
	s := newSandbox(t, "")
	s.run("selftest").want(t, 2, "store")
	s.run("selftest", "store", "--dir", s.path("nowhere")).want(t, 1, "nowhere", "--dir")
	s.run("selftest", "store").want(t, 1, s.path("data")) // the agent has never run

	disk := newRAMDisk(t, s.path("ram"), "64m")
	s.run("selftest", "store", "--dir", disk.dir, "--quick").want(t, 1, "does not honour a flush", "memory", "cure:")
	if left := testFolders(t, disk.dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	disk.remount(0, "size=16m")
	s.run("selftest", "store", "--dir", disk.dir, "--quick").want(t, 1, "28 MB", "store.headroom")
	disk.remount(0, "size=64m")
	disk.fill()
	s.run("selftest", "store", "--dir", disk.dir, "--quick").want(t, 1, "store.headroom")
	disk.remount(unix.MS_RDONLY, "size=64m")
	s.run("selftest", "store", "--dir", disk.dir).want(t, 1, "read-only")
}

// TestSelftestBesideAgent: in the folder of a running agent, which goes on
// acknowledging, and finds all of it again.
func TestSelftestBesideAgent(t *testing.T) {
	s := newSandbox(t, "store: {headroom: 10MB}\n")
	p := s.agent()
	over := make(chan struct{})
	var posted int
	var failed error
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			if _, err := s.publish("beside", posted); err != nil {
				failed = err
				return
			}
			posted++
		}
	})
	s.until("events flow", func() bool { return strings.Contains(s.run("events", "--name", "beside").out, "beside") })
	r := s.run("selftest", "store", "--quick")
	close(over)
	writer.Wait()
	if failed != nil || posted < 10 {
		t.Errorf("the agent took %d events and then: %v", posted, failed)
	}
	if r.code != 0 && r.code != 1 || !strings.Contains(r.out, "FLUSH 4 kB") {
		t.Errorf("exit code %d: %s%s", r.code, r.out, r.err)
	}
	if left := testFolders(t, s.path("data")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	s.run("status").want(t, 0)
	p.signal(sigTerm)
	p.exits(0, stopTime)
	s.run("export", "--dir", s.path("data"), "--file", "all").want(t, 0)
	s.run("verify", "all").want(t, 0, "closed: every event")
	raw, err := os.ReadFile(s.path("all"))
	if err != nil || strings.Count(string(raw), `"name":"beside"`) != posted {
		t.Errorf("%d of %d events are there: %v", strings.Count(string(raw), `"name":"beside"`), posted, err)
	}
}

// TestSelftestInterrupted: a signal midway leaves nothing; what a kill leaves goes
// with the next run, but nobody's folder who still works in it.
func TestSelftestInterrupted(t *testing.T) {
	s := newSandbox(t, "store: {headroom: 0}\n")
	dir := s.path("card")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	begin := func() *process {
		p := s.start("selftest", "store", "--dir", dir)
		s.until("it works", func() bool {
			found := testFolders(t, dir)
			if len(found) == 0 {
				return false
			}
			files, _ := os.ReadDir(found[0])
			return len(files) > 0
		})
		return p
	}
	for _, sig := range []syscall.Signal{sigInt, sigTerm, syscall.SIGHUP} {
		p := begin()
		p.signal(sig)
		p.exits(1, stopTime)
		if left := testFolders(t, dir); len(left) != 0 || !strings.Contains(p.text(), "interrupted") {
			t.Errorf("%v left %v: %s", sig, left, p.text())
		}
	}
	p := begin()
	p.signal(syscall.SIGKILL)
	p.exits(-1, stopTime)
	if left := testFolders(t, dir); len(left) != 1 {
		t.Fatalf("a kill left %v: the test proves nothing", left)
	}
	// One of an earlier boot that somebody holds, one of a living process, and a
	// file of the user's with such a name: all of them stay.
	stay := map[string]bool{testFolderPrefix + "00000000-1-held": true, testFolderPrefix + "mine": true, fmt.Sprintf("%s%s-%d-live", testFolderPrefix, bootPrefix(t), os.Getpid()): true}
	for name := range stay {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := filepath.Join(dir, fmt.Sprintf("%s%s-%d-old", testFolderPrefix, bootPrefix(t), os.Getpid())) // its number is another's by now
	hours := time.Now().Add(-time.Hour)
	mine := filepath.Join(dir, testFolderPrefix+"mine") // however old
	if err := errors.Join(os.Mkdir(old, 0o700), os.Chtimes(old, hours, hours), os.Chtimes(mine, hours, hours)); err != nil {
		t.Fatal(err)
	}
	held, err := lockTestFolder(filepath.Join(dir, testFolderPrefix+"00000000-1-held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	s.run("selftest", "store", "--dir", dir, "--quick")
	for _, path := range testFolders(t, dir) {
		if !stay[filepath.Base(path)] {
			t.Errorf("%s is still there", path)
		}
		delete(stay, filepath.Base(path))
	}
	if len(stay) != 0 {
		t.Errorf("it removed %v", stay)
	}
}

func bootPrefix(t *testing.T) string {
	t.Helper()
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	return string(id[:8])
}
