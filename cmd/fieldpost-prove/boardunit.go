package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	boardUnit = "fieldpost.service"
	boardConf = "/etc/fieldpost/fieldpost.yaml"
	boardAPI  = "http://127.0.0.1:8716"
	boardMQTT = "127.0.0.1:1884"
	boardRule = "/usr/lib/udev/rules.d/60-fieldpost.rules"
)

// boardConfig has a device of each kind that lives on lines.
const boardConfig = `agent: {id: board}
data_dir: /var/lib/fieldpost
api: {listen: ["127.0.0.1:8716"], socket: /run/fieldpost/fieldpost.sock}
keys: {board: {role: admin, secret: ` + agentKey + `}}
devices:
  door: {digital_in: GPIO17, pull: none}
  window: {digital_in: GPIO5, pull: none, debounce: 20ms}
  flow: {counter: GPIO6, pull: none, every: 1s}
  bell: {button: GPIO23, long: 3s}
  lamp: {digital_out: GPIO22, boot: hold, stop: hold}
  pump: {digital_out: GPIO27, boot: off, stop: off}
uplinks:
  cloud: {mqtt: "mqtt://` + boardMQTT + `"}
`

// command runs a program to its end and gives all that it printed. The package's own
// wait for a new version, and for the one before, is two minutes.
func command(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=")
	cmd.WaitDelay = 5 * time.Second
	b, err := cmd.CombinedOutput()
	if err != nil {
		return string(b), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(b)))
	}
	return string(b), nil
}

// property is one of the unit's properties.
func property(ctx context.Context, name string) (string, error) {
	out, err := command(ctx, "systemctl", "show", "-P", name, boardUnit)
	return strings.TrimSpace(out), err
}

// mainPid is the agent's process; 0 where there is none.
func mainPid(ctx context.Context) (int, error) {
	out, err := property(ctx, "MainPID")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(out)
}

// waitActive waits until the unit has said that it is ready, as another process
// than before.
func waitActive(ctx context.Context, before int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 40*time.Second, errors.New("the unit is not active after 40 s"))
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() (bool, error) {
		out, err := command(ctx, "systemctl", "show", "-P", "ActiveState", "-P", "MainPID", boardUnit)
		f := strings.Fields(out)
		if err != nil || len(f) != 2 {
			return false, errors.Join(err, fmt.Errorf("show unit: got %q", out))
		}
		state, pid := f[0], f[1]
		if state != "active" {
			state, pid = pid, state // in whichever order they are printed
		}
		return state == "active" && pid != strconv.Itoa(before) && pid != "0", nil
	})
}

// killAgent ends the agent as a crash would, and waits for the next one.
func killAgent(ctx context.Context) error {
	pid, err := mainPid(ctx)
	if err != nil {
		return err
	}
	if pid <= 1 {
		return fmt.Errorf("kill agent: its process is %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill agent: %w", err)
	}
	return waitActive(ctx, pid)
}

// replaceAgent has a command end the agent in good order, and waits for the next.
func replaceAgent(name string, args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		pid, err := mainPid(ctx)
		if err != nil {
			return err
		}
		if _, err := command(ctx, name, args...); err != nil {
			return err
		}
		return waitActive(ctx, pid)
	}
}

// reexecManager replaces systemd itself. The agent must not notice.
func reexecManager(ctx context.Context) error {
	before, err := mainPid(ctx)
	if err != nil {
		return err
	}
	if _, err := command(ctx, "systemctl", "daemon-reexec"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("daemon-reexec: systemd does not answer after 20 s"))
	defer cancel()
	return poll(ctx, 200*time.Millisecond, func() (bool, error) {
		after, err := mainPid(ctx)
		if err == nil && after != before {
			return false, fmt.Errorf("daemon-reexec: the agent was %d and is %d", before, after)
		}
		return err == nil, nil // while it starts anew it may not answer
	})
}

// apiGet reads a resource of the agent's API with the key of the config.
func apiGet(ctx context.Context, path string, into any) error {
	a := Agent{Addr: strings.TrimPrefix(boardAPI, "http://"), http: &http.Client{Timeout: 10 * time.Second}}
	return a.get(ctx, path, into)
}

// storedEvents reads all that is stored of a line, oldest first.
func storedEvents(ctx context.Context, name string) ([]lineEvent, error) {
	return storedOf[lineEvent](ctx, name)
}

// storedOf reads all events of a name, oldest first.
func storedOf[E any](ctx context.Context, name string) (all []E, err error) {
	path := "/v1/events?order=asc&limit=1000&name=" + name
	for after := ""; ; {
		var page struct {
			Events []E
			Next   string
		}
		if err := apiGet(ctx, path+after, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Events...)
		if page.Next == "" {
			return all, nil
		}
		after = "&after=" + page.Next
	}
}

// deviceState is one device as the API shows it.
type deviceState struct {
	Name, Status, Error string
	Value               json.RawMessage
}

func deviceStates(ctx context.Context) (map[string]deviceState, error) {
	var list struct{ Devices []deviceState }
	if err := apiGet(ctx, "/v1/devices", &list); err != nil {
		return nil, err
	}
	states := map[string]deviceState{}
	for _, d := range list.Devices {
		states[d.Name] = d
	}
	return states, nil
}

// clockState is what `fieldpost status` says of the clock. It fails where there is
// a problem to tell, and prints all the same.
func clockState(ctx context.Context) (string, error) {
	out, err := command(ctx, "fieldpost", "status", "-o", "json")
	var st struct{ Clock struct{ State string } }
	if jerr := json.Unmarshal([]byte(out), &st); jerr != nil || st.Clock.State == "" {
		return "", errors.Join(fmt.Errorf("read status: %w", jerr), err)
	}
	return st.Clock.State, nil
}

// waitClock waits until status shows a state, and gives how long that took.
func waitClock(ctx context.Context, want string, within time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("status does not say %s within %v", want, within))
	defer cancel()
	began := time.Now()
	err := poll(ctx, time.Second, func() (bool, error) {
		state, err := clockState(ctx)
		return state == want, err
	})
	return time.Since(began), err
}

var exposureLine = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

// exposure reads the score that systemd-analyze security gives the unit.
func exposure(out string) (float64, error) {
	m := exposureLine.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("systemd-analyze security gave no score: %q", out)
	}
	return strconv.ParseFloat(m[1], 64)
}
