package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// siteWriters is how many clients write at a site.
const siteWriters = 3

// siteStore keeps little, so that a reader that was away finds gaps.
const siteStore = "  headroom: 0\n  rings:\n    events: {keep: 2k events}\n    samples: {keep: 2k events}\n    alarms: {keep: 400 events}\n"

// site is one agent on a disk of its own, with its writers and its readers.
type site struct {
	run  *readersRun
	name string
	rng  *rand.Rand

	disk    *cutDisk
	link    *Link // to the broker
	line    *Recorder
	subject *subject
	history *history
	writers *writers
	readers []*reader
	stop    func() // ends the readers
	ended   chan struct{}

	boots   int
	slowest time.Duration
	faults  map[string]int
}

func newSite(ctx context.Context, r *readersRun, name string, number int) (s *site, err error) {
	s = &site{run: r, name: name, rng: rand.New(rand.NewPCG(r.rng.Uint64(), uint64(number))), history: newHistory(), faults: map[string]int{}}
	dir := filepath.Join(r.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, err
	}
	if s.disk, err = newCutDisk(dir, "ext4", 256); err != nil {
		return s, err
	}
	if s.line, err = newRecorder(filepath.Join(dir, "line.ndjson"), nil); err != nil {
		return s, err
	}
	if s.link, err = newLink(r.broker.Addr, s.line); err != nil {
		return s, err
	}
	opt := subjectOptions{AgentOptions: AgentOptions{Binary: r.p.binary, Dir: dir, DataDir: filepath.Join(s.disk.Path, "data"), Broker: s.link.Addr, Batch: 100},
		store: siteStore, boots: true, prefix: aloneOn(r.dir, name)}
	if s.subject, err = newSubject(opt); err != nil {
		return s, err
	}
	if err := s.rename(); err != nil {
		return s, err
	}
	s.writers = newWriters(siteWriters, s.subject.Agent, s.history, s.rng)
	s.subject.starter = &writer{client: siteWriters, history: s.history, rand: s.rng}
	if err := s.start(ctx, true); err != nil {
		return s, err
	}
	return s, s.follow(ctx, dir)
}

// aloneOn runs a program in its own view of the mounts without the disks of the
// other sites: a disk that another agent sees too is not let go of when its own
// has ended.
func aloneOn(dir, name string) []string {
	script := ""
	for _, other := range siteNames {
		if other != name {
			script += fmt.Sprintf("umount -l '%s' 2>/dev/null; ", filepath.Join(dir, other, "mnt"))
		}
	}
	return []string{"sh", "-c", script + `exec "$@"`, name}
}

// rename gives the agent an id of its own.
func (s *site) rename() error {
	text, err := os.ReadFile(s.subject.conf)
	if err != nil {
		return err
	}
	named := bytes.Replace(text, []byte("{id: prove}"), []byte("{id: "+s.name+"}"), 1)
	if bytes.Equal(named, text) {
		return errors.New("name agent: its config has no id")
	}
	return os.WriteFile(s.subject.conf, named, 0o600)
}

// start starts the agent; a boot of its own is what follows a power cut.
func (s *site) start(ctx context.Context, boot bool) error {
	if boot {
		s.boots++
		if err := s.subject.reboot(s.boots); err != nil {
			return err
		}
	}
	took, err := s.subject.StartTimed(ctx, s.writers)
	s.slowest = max(s.slowest, took)
	return err
}

// follow starts the readers, each from the oldest event on.
func (s *site) follow(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	s.ended = make(chan struct{})
	var wg sync.WaitGroup
	for _, k := range readerKinds() {
		rd, err := newReader(s, k, filepath.Join(dir, k.file+".ndjson"))
		if err != nil {
			cancel()
			close(s.ended)
			return err
		}
		s.readers = append(s.readers, rd)
		wg.Go(func() { rd.run(ctx) })
	}
	go func() {
		wg.Wait()
		close(s.ended)
	}()
	s.stop = func() {
		cancel()
		<-s.ended
	}
	return nil
}

// siteFaults are what happens at a site, each with how often.
func siteFaults() []struct {
	name   string
	strike func(*site, context.Context) error
} {
	return []struct {
		name   string
		strike func(*site, context.Context) error
	}{
		{"SIGKILL", (*site).kill}, {"power cut", (*site).cut}, {"SIGTERM", (*site).term},
		{"disk full", (*site).fill}, {"readers away", (*site).away}, {"power cut", (*site).cut}, {"SIGKILL", (*site).kill},
	}
}

// live strikes until the time is over, then stops and starts the agent once more,
// so that a ledger tells the end, and waits for the last event at every reader.
func (s *site) live(ctx context.Context) error {
	end := time.Now().Add(readersLast)
	faults := siteFaults()
	for i := s.rng.IntN(len(faults)); time.Now().Before(end); i++ {
		f := faults[i%len(faults)]
		if err := s.flood(ctx, 600, f.strike); err != nil {
			return fmt.Errorf("%s, %s: %w\n%s", s.name, f.name, err, s.subject.Tail())
		}
		s.faults[f.name]++
	}
	if err := s.subject.Term(20 * time.Second); err != nil {
		return err
	}
	if err := s.start(ctx, false); err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"name":"%s","data":{"end":true}}`, s.lastName())
	if _, err := s.subject.post(ctx, "", body); err != nil {
		return fmt.Errorf("post the last event: %w", err)
	}
	wait, cancel := context.WithTimeoutCause(ctx, 60*time.Second, errors.New("a reader did not get the last event in 60 s"))
	defer cancel()
	for _, rd := range s.readers {
		if err := poll(wait, 20*time.Millisecond, func() (bool, error) { return rd.done.Load(), rd.failed() }); err != nil {
			return fmt.Errorf("%s, %s, at %s after %s: %w", s.name, rd.kind.name, rd.position(), s.said(), err)
		}
	}
	s.stop()
	for _, rd := range s.readers {
		if err := rd.close(); err != nil {
			return err
		}
	}
	return nil
}

// lastName is the name of the site's last event.
func (s *site) lastName() string { return "last/" + s.name }

// flood lets the writers write some events, and strikes meanwhile.
func (s *site) flood(ctx context.Context, events int, strike func(*site, context.Context) error) error {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.writers.Run(ctx, siteWriters, pace{most: 40, every: 2 * time.Millisecond, budget: events}, stop)
	}()
	err := pause(ctx, time.Duration(300+s.rng.IntN(900))*time.Millisecond)
	if err == nil {
		err = strike(s, ctx)
	}
	close(stop)
	<-done
	for _, f := range s.writers.takeFaults() {
		err = errors.Join(err, errors.New(f))
	}
	return err
}

func (s *site) kill(ctx context.Context) error {
	if err := s.subject.Kill(); err != nil {
		return err
	}
	return s.start(ctx, false)
}

func (s *site) term(ctx context.Context) error {
	if err := s.subject.Term(20 * time.Second); err != nil {
		return err
	}
	return s.start(ctx, false)
}

// cut cuts the power, and lets the kernel repair the disk.
func (s *site) cut(ctx context.Context) error {
	if err := errors.Join(s.disk.CutUnder(ctx, s.subject.Proc), s.subject.Kill()); err != nil {
		return err
	}
	if err := errors.Join(s.disk.Unmount(ctx), s.disk.Mount()); err != nil {
		return err
	}
	return s.start(ctx, true)
}

// fill leaves no room on the disk for a second.
func (s *site) fill(ctx context.Context) error {
	b := &ballast{dir: filepath.Join(s.disk.Path, "ballast")}
	err := b.Fill(0)
	if err == nil {
		err = pause(ctx, time.Second)
	}
	if err = errors.Join(err, b.Free()); err != nil {
		return err
	}
	_, err = output("sync", "-f", s.disk.Path) // else a power cut brings the ballast back
	return err
}

// away keeps the readers and the uplink from reading while more is written than
// the rings keep.
func (s *site) away(ctx context.Context) error {
	for _, rd := range s.readers {
		rd.away.Store(true)
		rd.hangUp()
	}
	s.link.Down()
	body := bytes.Repeat([]byte(`{"name":"flood","data":{"none":"of them is missed"}}`+"\n"), 500)
	var err error
	for range 6 {
		if _, err = s.subject.post(ctx, "", body); err != nil && !errors.Is(err, errAgain) {
			break
		}
		err = nil // one that was not taken is not needed
	}
	s.link.Up()
	for _, rd := range s.readers {
		rd.away.Store(false)
	}
	return err
}

func (s *site) close() error {
	var err error
	if s.stop != nil {
		s.stop()
	}
	if s.subject != nil {
		if s.subject.Proc != nil {
			_ = s.subject.Kill()
		}
		s.subject.http.CloseIdleConnections()
	}
	http.DefaultClient.CloseIdleConnections()
	if s.link != nil {
		s.link.Close()
	}
	if s.line != nil {
		err = s.line.Close()
	}
	if s.disk != nil {
		err = errors.Join(err, s.disk.Close())
	}
	return err
}

func (s *site) said() string {
	var words []string
	for name, n := range s.faults {
		words = append(words, fmt.Sprintf("%d %s", n, name))
	}
	return fmt.Sprintf("%d events acknowledged, %s", s.writers.acknowledged.Load(), strings.Join(words, ", "))
}
