package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boardUser is who follows the README on the board: a user with sudo and without its
// password, as the first one of a Raspberry Pi OS.
const boardUser = "pi"

// quickStart does what the README says for a Raspberry Pi, word for word, as a user in a
// shell, from the package to an edge in the terminal. It leaves the package installed,
// the agent stopped, and nothing of the config and the store that it made.
func (b *board) quickStart(ctx context.Context) error {
	readme, err := os.ReadFile(filepath.Join(b.share, "README.md"))
	var commands []string
	if err == nil {
		commands, err = quickCommands(string(readme))
	}
	if err := b.must("the README has its quick start, in fewer than five commands", err, commands...); err != nil {
		return err
	}
	shell, err := newBoardShell(ctx)
	if err == nil {
		err = shell.bring(ctx, filepath.Join(b.share, "one.deb"))
	}
	if err := b.must("a user with sudo has the package in his home", err); err != nil {
		return err
	}
	for _, c := range commands[:len(commands)-1] {
		out, err := shell.run(ctx, c)
		if err := b.must("README: "+c, err, lastLines(out, 3)...); err != nil {
			return err
		}
	}
	seen, err := shell.follow(ctx, commands[len(commands)-1], b.chip)
	b.report("README: "+commands[len(commands)-1]+": an edge of GPIO17 is in the terminal, with its time", err, seen...)
	return b.must("what the quick start made is gone again", shell.clear(ctx))
}

// lastLines are the last n lines of a text.
func lastLines(text string, n int) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[max(0, len(lines)-n):]
}

// boardShell runs commands as the user does.
type boardShell struct {
	home string
	cred *syscall.Credential
}

func newBoardShell(ctx context.Context) (*boardShell, error) {
	if _, err := command(ctx, "useradd", "--create-home", "--shell", "/bin/bash", boardUser); err != nil {
		return nil, err
	}
	if err := os.WriteFile("/etc/sudoers.d/010_pi-nopasswd", []byte(boardUser+" ALL=(ALL) NOPASSWD: ALL\n"), 0o440); err != nil {
		return nil, fmt.Errorf("let %s use sudo: %w", boardUser, err)
	}
	u, err := user.Lookup(boardUser)
	if err != nil {
		return nil, err
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	return &boardShell{u.HomeDir, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, errors.Join(uerr, gerr)
}

// bring puts the package into the home under the name that it was built with.
func (s *boardShell) bring(ctx context.Context, deb string) error {
	version, err := command(ctx, "dpkg-deb", "-f", deb, "Version")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(deb)
	if err != nil {
		return fmt.Errorf("read the package: %w", err)
	}
	name := filepath.Join(s.home, "fieldpost_"+strings.TrimSpace(version)+"_arm64.deb")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		return fmt.Errorf("copy the package: %w", err)
	}
	return nil
}

// bash is a shell of the user's, with a line to run.
func (s *boardShell) bash(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = s.home
	cmd.Env = []string{"HOME=" + s.home, "USER=" + boardUser, "LOGNAME=" + boardUser, "SHELL=/bin/bash", "TERM=linux", "PATH=/usr/local/bin:/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs a line to its end, which must be a good one.
func (s *boardShell) run(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	out, err := s.bash(ctx, line).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w", line, err)
	}
	return string(out), nil
}

// follow runs a line in a terminal, touches GPIO17 to ground until an edge of it is
// shown, and ends the command as its user does, by ^C.
func (s *boardShell) follow(ctx context.Context, line string, chip *simChip) (seen []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	terminal, tty, err := openTerminal()
	if err != nil {
		return nil, err
	}
	defer terminal.Close()
	cmd := s.bash(ctx, line)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	err = errors.Join(cmd.Start(), tty.Close())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	shown := make(chan string, 1000) // more than is shown meanwhile
	go func() {
		defer close(shown)
		for lines := bufio.NewScanner(terminal); lines.Scan(); {
			shown <- strings.TrimSpace(lines.Text())
		}
	}()
	seen, err = touch(ctx, chip, shown)
	_, werr := terminal.Write([]byte{3})
	return seen, errors.Join(err, werr, ended(cmd, line))
}

// ended waits until a command is over, well, and all that it began with it.
func ended(cmd *exec.Cmd, line string) error {
	pid := cmd.Process.Pid // and that of its group, since it has a session of its own
	late := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(-pid, syscall.SIGKILL) })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s, after ^C: %w", line, err)
	}
	if err := syscall.Kill(-pid, 0); !errors.Is(err, syscall.ESRCH) {
		return errors.Join(fmt.Errorf("%s left something running: %w", line, err), syscall.Kill(-pid, syscall.SIGKILL))
	}
	return nil
}

// shownEdge is a line of `fieldpost events` with a change of the door.
var shownEdge = regexp.MustCompile(`^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})[ ~] +\S+/\d+ +change +door +(true|false)\b`)

// touchSlack is how far a time that is shown may be from the toggle: the agent sets wall
// against monotonic time now and then, and the emulator may pause between its two looks.
const touchSlack = 400 * time.Millisecond

// touch pulls the line of the door down and up, once a second, until an edge is shown
// with the level and the time of one of the pulls.
func touch(ctx context.Context, chip *simChip, shown <-chan string) (seen []string, err error) {
	var pulls []pulled
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for up := false; ; {
		select {
		case line, ok := <-shown:
			if !ok {
				return seen, errors.New("the command ended by itself")
			}
			if seen = append(seen, line); len(seen) > 8 {
				seen = seen[1:]
			}
			if isPulled(line, pulls) {
				return []string{line}, nil
			}
		case <-tick.C:
			p := pulled{level: up, from: time.Now()}
			if err := chip.pull(doorLine, up); err != nil {
				return seen, err
			}
			p.to = time.Now()
			pulls, up = append(pulls, p), !up
		case <-ctx.Done():
			return seen, fmt.Errorf("no edge of %d is shown", len(pulls))
		}
	}
}

// pulled is when a line was pulled, and where to.
type pulled struct {
	level    bool
	from, to time.Time
}

// isPulled reports whether a line shows one of the pulls.
func isPulled(line string, pulls []pulled) bool {
	m := shownEdge.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05.000", m[1], time.Local)
	if err != nil {
		return false
	}
	for _, p := range pulls {
		if strconv.FormatBool(p.level) == m[2] && at.After(p.from.Add(-touchSlack)) && at.Before(p.to.Add(touchSlack)) {
			return true
		}
	}
	return false
}

// openTerminal makes a terminal: what is typed into it, and the side that programs have.
func openTerminal() (terminal, tty *os.File, err error) {
	terminal, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open terminal: %w", err)
	}
	raw, err := terminal.SyscallConn()
	if err != nil {
		return nil, nil, errors.Join(err, terminal.Close())
	}
	n := 0
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err = errors.Join(err, cerr); err == nil {
		tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open terminal: %w", err), terminal.Close())
	}
	return terminal, tty, nil
}

// clear takes away what the quick start made, but for the package: the next phases have
// a config and a store of their own.
func (s *boardShell) clear(ctx context.Context) error {
	debs, err := filepath.Glob(filepath.Join(s.home, "*.deb"))
	confs, cerr := filepath.Glob("/etc/fieldpost/conf.d/*.yaml")
	err = errors.Join(err, cerr)
	for _, f := range append(debs, confs...) {
		err = errors.Join(err, os.Remove(f))
	}
	for _, args := range [][]string{{"systemctl", "stop", boardUnit}, {"fieldpost", "reset", "--yes"}} {
		_, rerr := command(ctx, args[0], args[1:]...)
		err = errors.Join(err, rerr)
	}
	return err
}
