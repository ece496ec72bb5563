package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fieldpost/edge/agent"
	"fieldpost/gpio"
)

// crashCheck looks at how the runs before this one ended.
func crashCheck(_ context.Context, p *patient) []symptom {
	if p.config == nil {
		return nil // told
	}
	c, err := agent.ReadCrashes(p.config.DataDir)
	const cure = "journalctl -u fieldpost says why; a supply that is too weak looks like a crash, too"
	switch {
	case errors.Is(err, os.ErrPermission):
		return one(notable, "how earlier runs ended can't be read as this user", "sudo fieldpost doctor")
	case err != nil:
		return one(notable, oneLine(err.Error()), "")
	case c.Safe:
		return one(ailing, fmt.Sprintf("the agent crashed or lost its power %d times in a row: it started safe", len(c.Ago)), cure)
	case len(c.Ago) > 0:
		last := c.Ago[len(c.Ago)-1].Round(time.Second)
		return one(notable, fmt.Sprintf("the agent crashed or lost its power %d times lately, last %s or more before it started", len(c.Ago), last), cure)
	case p.status == nil:
		return one(healthy, "no crash is noted", "")
	}
	return one(healthy, "no crash is noted in the minutes before its start", "")
}

func claimCheck(_ context.Context, p *patient) []symptom {
	switch {
	case p.status == nil:
		return nil // it is not there to ask
	case p.status.Claimed:
		return one(healthy, "the agent is claimed", "")
	}
	return one(notable, "nobody has claimed the agent: it is whoever's that enters its code first", "sudo fieldpost claim shows the code and the panel's address")
}

// ledCheck looks whether the agent's group may write the files of the config's LED.
func ledCheck(_ context.Context, p *patient) []symptom {
	if p.config == nil || p.config.LED == nil || p.config.LED.Name == "" {
		return nil
	}
	name := p.config.LED.Name
	if p.status != nil && p.status.LED != "" {
		return one(healthy, "LED "+name+" shows "+p.status.LED, "")
	}
	dir, err := gpio.FindLED(cmp.Or(p.root, "/"), name)
	if err != nil {
		return one(ailing, oneLine(err.Error()), "name one of /sys/class/leds in led, or a pin with an LED of your own")
	}
	const rule = "sudo udevadm trigger --subsystem-match=leds; the package's 60-fieldpost.rules is for ACT and PWR, another LED needs one like it"
	for _, file := range []string{"brightness", "trigger"} {
		info, err := os.Stat(filepath.Join(dir, file))
		switch {
		case err != nil:
			return one(ailing, fmt.Sprintf("LED %s: %v", name, err), "")
		case info.Mode().Perm()&0o020 == 0:
			return one(ailing, fmt.Sprintf("the agent's group may not write %s of LED %s", file, name), rule)
		}
	}
	return one(healthy, "LED "+name+" can be written by its group", "")
}
