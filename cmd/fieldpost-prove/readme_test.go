package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// readme is the tree's own.
func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadmeQuickStart: the board's block is there and is what it says it is; the board
// itself runs it (packaging/board/test-deb).
func TestReadmeQuickStart(t *testing.T) {
	commands, err := quickCommands(readme(t))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(commands); n > mostCommands || !strings.Contains(commands[0], "apt install") || !strings.Contains(commands[n-1], "events -f") {
		t.Errorf("commands %q", commands)
	}
}

func TestQuickCommandsRefuses(t *testing.T) {
	const install, follow = "sudo apt install ./fieldpost_*_arm64.deb   # it's; all\n", "sudo fieldpost events -f\n"
	for name, c := range map[string]struct{ text, want string }{
		"no heading":         {"# Fieldpost\n", "no heading"},
		"no block":           {"## On a Raspberry Pi\n\nNothing.\n\n## Next\n```sh\n" + install + follow + "```\n", "no block installs"},
		"no end":             {"## On a Raspberry Pi\n```sh\n" + install + follow, "has no end"},
		"five commands":      {"## On a Raspberry Pi\n```sh\n" + install + "a\nb\nc\n" + follow + "```\n", "it takes 5 commands"},
		"two in a line":      {"## On a Raspberry Pi\n```sh\n" + install + "a && b\n" + follow + "```\n", "2 commands in one line"},
		"another first":      {"## On a Raspberry Pi\n```sh\nls\n" + install + follow + "```\n", `the first command is "ls"`},
		"ends with another":  {"## On a Raspberry Pi\n```sh\n" + install + "sudo fieldpost devices\n```\n", "the last command is"},
		"it is the only one": {"## On a Raspberry Pi\n```sh\n" + install + "```\n", "it takes 1 commands"},
	} {
		if got, err := quickCommands(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestCommandsIn(t *testing.T) {
	for line, want := range map[string]int{
		"": 0, "# only; a comment": 0, "ls": 1, "ls -l # a; b": 1, "a; b": 2, "a;": 1, "a && b || c": 3, "a | b | c": 1, "a & b": 2,
		"echo 'a; b && c' \"d; e\"": 1, "a 2>&1": 1, "a#b; c": 2, "'a'; 'b'": 2,
	} {
		if got := commandsIn(line); got != want {
			t.Errorf("%q: %d commands, want %d", line, got, want)
		}
	}
}

// TestIsPulled: an edge in the terminal counts where a pull of its level was then.
func TestIsPulled(t *testing.T) {
	at := time.Date(2026, 11, 21, 1, 32, 15, 0, time.Local)
	pulls := []pulled{{level: true, from: at, to: at.Add(time.Millisecond)}, {level: false, from: at.Add(time.Second), to: at.Add(time.Second + time.Millisecond)}}
	right := []string{
		"2026-11-21 01:32:15.100~ events/12  change   door  true",
		"2026-11-21 01:32:16.000  alarms/1  change   door  false (closed)",
	}
	for _, line := range append(slices.Clone(right),
		"2026-11-21 01:32:15.100  events/12  change   door  false",
		"2026-11-21 01:32:15.100  events/12  change   gate  true",
		"2026-11-21 01:32:15.100  events/12  sample   door  true",
		"2026-11-21 01:32:15.500  events/12  change   door  true",
		"2026-11-21 01:32:14.500  events/12  change   door  true",
		"01:32:15.000  events/12  change   door  true",
	) {
		if got := isPulled(line, pulls); got != slices.Contains(right, line) {
			t.Errorf("%q: %v", line, got)
		}
	}
}
