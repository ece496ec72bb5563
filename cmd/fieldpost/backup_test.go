package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// lines gives what a store's export has, by the event's id; gaps and ledgers are left
// out.
func (s *sandbox) stored(dir string) map[string]string {
	s.t.Helper()
	s.run("export", "--dir", dir, "--file", "stored").want(s.t, 0)
	s.run("verify", "stored").want(s.t, 0, "closed: every event")
	raw, err := os.ReadFile(s.path("stored"))
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		var ev struct {
			ID   string `json:"id"`
			N    uint64 `json:"n"`
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			s.t.Fatal(err)
		}
		if ev.Kind != "gap" && ev.N > 0 {
			found[ev.ID] = line
		}
	}
	return found
}

// storeID reads a store's own id.
func (s *sandbox) storeID(dir string) string {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "store.json"))
	var about struct{ ID string }
	if err == nil {
		err = json.Unmarshal(raw, &about)
	}
	if err != nil || about.ID == "" {
		s.t.Fatalf("%s: %v in %s", dir, err, raw)
	}
	return about.ID
}

type backedUp struct {
	Bytes    int64
	Epoch    string
	Position string
	Store    string
	LeftOut  []string `json:"left_out"`
}

// TestBackupUnderWrites: while clients write, a backup has every event that was
// acknowledged before it began; what is restored of it is the same to the letter,
// closed, and goes on as another store in another epoch.
func TestBackupUnderWrites(t *testing.T) {
	s := newSandbox(t, "")
	s.write("panel.key", "a secret of some length, twice\n")
	s.write("fieldpost.yaml", fmt.Sprintf("agent: {id: box}\ndata_dir: %s\napi: {listen: off, socket: %s}\nkeys: {panel: {role: read, secret: \"file:%s\"}}\n", s.path("data"), s.socket, s.path("panel.key")))
	p := s.agent()
	s.run("keys", "create", "--name", "phone", "--role", "read").want(t, 0)
	var mu sync.Mutex
	var acked []string
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id, err := s.publish(fmt.Sprintf("w%d", w), map[string]any{"i": i, "text": strings.Repeat("x", 500)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked = append(acked, id)
				mu.Unlock()
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	before := make([]int, 3)
	made := make([]backedUp, 3)
	for i := range before {
		s.until("the clients wrote", func() bool { return count() > 150*(i+1) })
		before[i] = count()
		made[i] = decode[backedUp](t, s.run("backup", fmt.Sprintf("b%d.tar.zst", i), "-o", "json").want(t, 0))
	}
	close(stop)
	writers.Wait()
	p.signal(sigTerm)
	p.exits(0, stopTime)
	if left := made[0].LeftOut; len(left) != 1 || left[0] != "file:"+s.path("panel.key") {
		t.Errorf("left out: %v", left)
	}
	all := s.stored(s.path("data"))
	for i := range before {
		dir := s.path(fmt.Sprintf("r%d", i))
		s.run("restore", fmt.Sprintf("b%d.tar.zst", i), "--dir", dir).want(t, 0, made[i].Position, "config.restored")
		got := s.stored(dir)
		for _, id := range acked[:before[i]] {
			if got[id] == "" {
				t.Fatalf("backup %d: %s was acknowledged before it began, and is not in it", i, id)
			}
		}
		for id, line := range got {
			if all[id] != line {
				t.Fatalf("backup %d: %s is %s, and was %s", i, id, line, all[id])
			}
		}
		if s.storeID(dir) == made[i].Store {
			t.Error("the copy has the id of the original")
		}
		t.Logf("backup %d: %d bytes, %d events, %d were acknowledged before it began", i, made[i].Bytes, len(got), before[i])
	}
	s.goesOn(s.path("r2"), made[2])
	if names, _ := filepath.Glob(s.path("*.new")); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// goesOn runs an agent on a restored store: its keys are there, it says that a new
// epoch began and why, and what it stores is told apart from what the original does.
func (s *sandbox) goesOn(dir string, of backedUp) {
	s.t.Helper()
	p := s.agent("--data-dir", dir)
	s.run("keys", "list").want(s.t, 0, "phone")
	s.run("events", "--name", "epoch", "-o", "json").want(s.t, 0, `"why":"restore"`, `"previous":"`+of.Epoch+`"`)
	if id := s.mustPublish("its own", 1); strings.HasPrefix(id, of.Epoch) {
		s.t.Errorf("%s is of the old epoch", id)
	}
	p.signal(sigTerm)
	p.exits(0, stopTime)
	s.stored(dir)
}

// TestBackupStopped: without an agent the verb reads the store itself; restore moves
// what is there aside, and refuses it without --yes or under an agent.
func TestBackupStopped(t *testing.T) {
	s := newSandbox(t, "")
	s.run("backup", "b").want(t, 3, "no agent at "+s.socket)
	p := s.agent()
	s.mustPublish("first", 1)
	s.run("restore", "nothing", "--yes").want(t, 1, "nothing")
	p.signal(sigTerm)
	p.exits(0, stopTime)
	s.run("backup", "b").want(t, 0, "of agent box up to")
	s.run("backup", "also", "--dir", s.path("data")).want(t, 0)
	s.run("backup", "b", "--dir", s.path("none")).want(t, 1, "none")
	r := s.run("backup", "-").want(t, 0, "the standard output: ")
	s.write("piped", r.out)
	s.run("backup", "-", "-o", "json").want(t, 2, "standard output")

	p = s.agent()
	second := s.mustPublish("second", 2)
	s.run("restore", "b", "--yes").want(t, 1, "another process has the store open", "stop the agent first")
	s.run("reset", "--yes").want(t, 1, "stop the agent first")
	s.run("reset").want(t, 1, "stop the agent first")
	p.signal(sigTerm)
	p.exits(0, stopTime)
	s.run("restore", "b").want(t, 2, "not empty", "--yes")
	s.run("restore", "fieldpost.yaml", "--yes").want(t, 1, "no backup of fieldpost")
	s.run("restore", "b", "--yes").want(t, 0, s.path("data.before-restore"))
	if now := s.stored(s.path("data")); now[second] != "" {
		t.Error("the old store is in place")
	}
	if old := s.stored(s.path("data.before-restore")); old[second] == "" {
		t.Error("the old store is gone")
	}
	s.pipe(r.out, "restore", "-", "--yes", "-o", "json").want(t, 0, `"aside": "`+s.path("data.before-restore-2")+`"`)
	if raw, err := os.ReadFile(s.path("data/config.restored" + s.path("fieldpost.yaml"))); err != nil || !strings.Contains(string(raw), "agent: {id: box}") {
		t.Errorf("%s: %v", raw, err)
	}
}

func (s *sandbox) entries(name string) []string {
	s.t.Helper()
	list, err := os.ReadDir(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return names(list)
}

// TestBackupOnAFullDisk: a disk that is full, and one on which the agent dies, keep
// no half file, and an older backup stays.
func TestBackupOnAFullDisk(t *testing.T) {
	s := newSandbox(t, "")
	p := s.agent()
	for i := range 40 {
		s.mustPublish("a", fmt.Sprint(i, randomText(30_000)))
	}
	disk := newRAMDisk(t, s.path("usb"), "256k")
	s.write("usb/b", zstdMagic+"older")
	s.run("backup", s.path("usb/b")).want(t, 1, "no space left")
	if left := s.entries("usb"); fmt.Sprint(left) != "[b]" {
		t.Errorf("left: %v", left)
	}
	disk.remount(0, "size=16m")
	s.write("usb/b.new", "of one that was cut off")
	s.run("backup", s.path("usb/b")).want(t, 0)
	if left := s.entries("usb"); fmt.Sprint(left) != "[b]" {
		t.Errorf("left: %v", left)
	}
	s.run("restore", s.path("usb/b"), "--dir", s.path("copy")).want(t, 0)
	p.signal(sigTerm)
	p.exits(0, stopTime)
	disk.fill()
	s.run("backup", s.path("usb/c")).want(t, 1, "no space left")
	if left := s.entries("usb"); fmt.Sprint(left) != "[b filler]" {
		t.Errorf("left: %v", left)
	}
	s.agent()
	s.stored(s.path("copy"))
}

// randomText is a text that does not pack.
func randomText(n int) string {
	b := make([]byte, n/2)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// TestStoppedVerbsKeepTheOwner: what root makes in the agent's folder is the agent's.
func TestStoppedVerbsKeepTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it needs root to be another's")
	}
	s := newSandbox(t, "")
	p := s.agent()
	s.mustPublish("a", 1)
	p.signal(syscall.SIGKILL) // so that there is something to move
	p.exits(-1, stopTime)
	const agent = 4321
	owned := func(after string) {
		t.Helper()
		err := filepath.WalkDir(s.path("data"), func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st syscall.Stat_t
			if err := syscall.Lstat(path, &st); err != nil || st.Uid != agent || st.Gid != agent {
				t.Errorf("after %s: %s is of %d:%d: %v", after, path, st.Uid, st.Gid, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := filepath.WalkDir(s.path("data"), func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, agent, agent)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.run("export", "--dir", s.path("data"), "--file", "all").want(t, 0)
	owned("export")
	s.run("backup", "b").want(t, 0)
	owned("backup")
	about, err := os.ReadFile(s.path("data/store.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range [][]string{{"backup", "x"}, {"reset"}} { // they can't open it, and make a folder all the same
		if err := os.RemoveAll(s.path("data/rings")); err != nil {
			t.Fatal(err)
		}
		newer(t, s.path("data/store.json"))
		s.run(verb...).want(t, 2)
		owned(fmt.Sprint(verb, " of a newer store"))
	}
	if err := os.WriteFile(s.path("data/store.json"), about, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("restore", "b", "--yes").want(t, 0)
	owned("restore")
	s.run("reset").want(t, 2)
	owned("reset, asked")
	s.run("reset", "--yes").want(t, 0)
	owned("reset")
}

// newer makes a store one of a version that nobody has, and leaves the file's owner.
func newer(t *testing.T, about string) {
	t.Helper()
	f, err := os.OpenFile(about, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(`{"format":99}`)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestBackupKeepsWhatIsNoBackup: a name that was given by mistake costs nobody a file.
func TestBackupKeepsWhatIsNoBackup(t *testing.T) {
	s := newSandbox(t, "")
	p := s.agent()
	before, err := os.ReadFile(s.path("fieldpost.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.run("backup", s.path("fieldpost.yaml")).want(t, 1, "is no backup")
	if now, err := os.ReadFile(s.path("fieldpost.yaml")); err != nil || string(now) != string(before) {
		t.Errorf("the config is %q, %v", now, err)
	}
	s.write("short", "a")
	s.run("backup", s.path("short")).want(t, 1, "is no backup")
	s.run("backup", s.path("data")).want(t, 1, "it is no file")
	s.write("empty", "") // of mktemp
	s.run("backup", s.path("empty")).want(t, 0)
	s.run("backup", s.path("empty")).want(t, 0)
	p.signal(sigTerm)
	p.exits(0, stopTime)
}
