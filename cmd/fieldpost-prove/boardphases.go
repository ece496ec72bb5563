package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ownerOf is who may use a file, as "root:gpio 0660".
func ownerOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("stat %s: no owner", path)
	}
	u, uerr := user.LookupId(strconv.Itoa(int(st.Uid)))
	g, gerr := user.LookupGroupId(strconv.Itoa(int(st.Gid)))
	if err := errors.Join(uerr, gerr); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s:%s %04o", u.Username, g.Name, info.Mode().Perm()), nil
}

// isOwned checks that a file's owner is the one wanted.
func isOwned(path, want string) error {
	got, err := ownerOf(path)
	if err == nil && got != want {
		err = fmt.Errorf("%s is %s, not %s", path, got, want)
	}
	return err
}

// install puts the package on a Debian that knows nothing of GPIO, by the README.
func (b *board) install(ctx context.Context) error {
	_, err := user.LookupGroup("gpio")
	if _, none := errors.AsType[user.UnknownGroupError](err); none {
		err = isOwned(b.chip.dev, "root:root 0600")
	} else {
		err = errors.Join(err, errors.New("there is a group gpio"))
	}
	if err := b.must("a plain Debian: no group gpio, and the chip is root's alone", err); err != nil {
		return err
	}
	if err := b.quickStart(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = poll(wait, 100*time.Millisecond, func() (bool, error) { return isOwned(b.chip.dev, "root:gpio 0660") == nil, nil })
	b.report("the chip is of the group gpio", isOwned(b.chip.dev, "root:gpio 0660"))
	return nil
}

// configure gives the agent its devices and its broker.
func (b *board) configure(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "board-")
	if err != nil {
		return err
	}
	if b.broker, err = startBroker(ctx, filepath.Join(dir, "broker"), boardMQTT, nil); err == nil {
		b.sub, err = startSubscriber(dir, boardMQTT)
	}
	if err := b.must("mosquitto and mosquitto_sub run", err); err != nil {
		return err
	}
	err = errors.Join(setSynced(false), os.WriteFile(boardConf, []byte(boardConfig), 0o640))
	if err == nil {
		_, err = command(ctx, "fieldpost", "check", boardConf)
	}
	if err == nil {
		err = replaceAgent("systemctl", "restart", boardUnit)(ctx)
	}
	if err := b.must("a config with six devices and an uplink", err); err != nil {
		return err
	}
	return b.must("the devices work, so GPIO does inside the unit", b.devicesWork(ctx))
}

func (b *board) devicesWork(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var wrong []string
	err := poll(ctx, 200*time.Millisecond, func() (bool, error) {
		states, err := deviceStates(ctx)
		if ctx.Err() != nil {
			return false, nil // what was wrong before is what counts
		}
		wrong = nil
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		for _, name := range []string{"door", "window", "flow", "bell", "lamp", "pump"} {
			if s := states[name]; s.Status != "ok" {
				wrong = append(wrong, fmt.Sprintf("%s is %q: %s", name, s.Status, s.Error))
			}
		}
		return len(wrong) == 0, nil
	})
	if err != nil {
		return errors.Join(err, faults(wrong))
	}
	return nil
}

// inside looks at the agent in its unit: how far it is closed in, and that the
// network and the clock can be used all the same.
func (b *board) inside(ctx context.Context) error {
	out, err := command(ctx, "systemd-analyze", "security", "--no-pager", boardUnit)
	score := 0.0
	if err == nil {
		score, err = exposure(out)
	}
	if err == nil && score > 1.9 {
		err = fmt.Errorf("it is %.1f", score)
	}
	b.report("systemd-analyze security is at most 1.9", err, fmt.Sprintf("it is %.1f", score))

	var status struct{ You struct{ Role string } }
	err = apiGet(ctx, "/v1/status", &status)
	if err == nil && status.You.Role != "admin" {
		err = fmt.Errorf("with the config's key we are %q", status.You.Role)
	}
	b.report("the API answers on "+boardAPI+" to the config's key", err)

	stored, err := property(ctx, "NFileDescriptorStore")
	if err == nil && stored != "5" {
		err = fmt.Errorf("it holds %s lines, not 5: four inputs and the output that holds", stored)
	}
	b.report("systemd holds the lines that outlive the agent", err)

	state, err := clockState(ctx)
	if err == nil && state != "unsynced" {
		err = fmt.Errorf("it says %s", state)
	}
	b.report("status says unsynced while the kernel's clock is", err)
	took := time.Duration(0)
	if err = setSynced(true); err == nil {
		took, err = waitClock(ctx, "synced", 15*time.Second)
	}
	b.report("the kernel's clock is synced: status follows", err, fmt.Sprintf("after %.1f s", took.Seconds()))
	return nil
}

// debounce presses a contact that bounces for a while.
func (b *board) debounce(ctx context.Context) error {
	before, err := storedEvents(ctx, "window")
	for i := range 7 {
		if err == nil {
			err = errors.Join(b.chip.pull(windowLine, i%2 == 0), pause(ctx, 2*time.Millisecond))
		}
	}
	closed := mono()
	var after []lineEvent
	if err == nil {
		err = pause(ctx, time.Second)
	}
	if err == nil {
		after, err = storedEvents(ctx, "window")
	}
	var seen []string
	if err == nil {
		after = after[len(before):]
		for _, e := range after {
			seen = append(seen, fmt.Sprintf("%s %t, stamped %v after the last bounce", e.Kind, e.Data.Value, time.Duration(e.Mono-closed)))
		}
		// A stall of the emulator may part the bounces, never below the period.
		if n := len(after); n == 0 || n > 3 || !after[n-1].Data.Value {
			err = fmt.Errorf("%d events of 7 edges", n)
		}
	}
	b.report("debounce: a contact that bounces is told once it is stable", err, seen...)
	return nil
}

// stop is the stop by hand, which lets go of all lines.
func (b *board) stop(ctx context.Context) error {
	_, err := command(ctx, "systemctl", "stop", boardUnit)
	var on bool
	if err == nil {
		on, err = b.chip.level(pumpLine)
	}
	if err == nil && on {
		err = errors.New("the pump is on")
	}
	b.report("systemctl stop: the pump is off", err)
	return nil
}

// denied takes the chip away from the agent, as on a Debian without our rule, and
// gives it back the way that the agent says.
func (b *board) denied(ctx context.Context) error {
	rule, err := os.ReadFile(boardRule)
	if err == nil {
		err = os.Remove(boardRule)
	}
	// udevd is not told: it looks for changed rules by itself, and no more than once
	// in 3 s, which would hide the rule that the cure asks for.
	if err == nil {
		_, err = command(ctx, "groupdel", "gpio")
	}
	var chips []string
	if err == nil {
		chips, err = filepath.Glob("/dev/gpiochip*")
	}
	for _, chip := range chips {
		err = errors.Join(err, os.Chown(chip, 0, 0), os.Chmod(chip, 0o600))
	}
	if err == nil {
		_, err = command(ctx, "systemctl", "start", boardUnit)
	}
	if err == nil {
		err = waitActive(ctx, 0)
	}
	if err := b.must("the group and the rule are gone: the agent runs all the same", err); err != nil {
		return err
	}
	out := ""
	for _, verb := range []string{"devices", "status"} {
		out, _ = command(ctx, "fieldpost", verb) // it fails where there is a problem to tell
		b.report("fieldpost "+verb+" says what is missing and how to mend it", says(out, chips[0], "root:root", "0600", "sudo groupadd -f gpio,",
			"sudo usermod -aG gpio fieldpost,", "60-fieldpost.rules ("+ruleIn(rule)+")", "sudo udevadm trigger --subsystem-match=gpio,", "start the agent again"))
	}
	b.mended(ctx, cureSteps(out))
	// As the package had it, which goes next.
	return os.WriteFile(boardRule, rule, 0o644)
}

// mended does what the agent asks for, and sees that its devices work then.
func (b *board) mended(ctx context.Context, steps []cureStep) {
	seen, err := cure(ctx, steps)
	if err == nil {
		err = b.devicesWork(ctx)
	}
	owner, oerr := ownerOf(b.chip.dev)
	err, seen = errors.Join(err, oerr), append(seen, b.chip.dev+" is "+owner)
	b.report("and it is mended by that, word for word", errors.Join(err, uncure(steps)), seen...)
}

// purge takes the package away. Only its user stays.
func (b *board) purge(ctx context.Context) error {
	_, err := command(ctx, "dpkg", "--remove", "fieldpost")
	if err == nil {
		_, err = os.Stat("/var/lib/fieldpost/store.json")
		if err != nil {
			err = fmt.Errorf("what is stored: %w", err)
		}
	}
	b.report("dpkg --remove leaves what is stored", err)
	_, err = command(ctx, "dpkg", "--purge", "fieldpost")
	if err == nil {
		var left []string
		left, err = leftovers("/", b.share)
		err = errors.Join(err, faults(left))
	}
	if err == nil {
		_, err = user.Lookup("fieldpost")
	}
	b.report("dpkg --purge leaves the user and nothing else", err)
	return nil
}

// leftovers finds what still has the package's name, but for this driver.
func leftovers(root, share string) (left []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && errors.Is(err, fs.ErrNotExist):
			return nil // it went while we looked
		case err != nil:
			return err
		case path == share || path == "/proc" || path == "/sys" || path == "/dev":
			return filepath.SkipDir
		case strings.Contains(d.Name(), "fieldpost") && d.Name() != "fieldpost-prove":
			left = append(left, path)
		}
		return nil
	})
	return left, err
}
