package config

import (
	"path/filepath"
	"strings"

	"fieldpost/edge"
)

// Where the package puts things; the unit makes the folders.
const (
	systemConfig  = "/etc/fieldpost/fieldpost.yaml"
	systemDataDir = "/var/lib/fieldpost"
	systemSocket  = "/run/fieldpost/fieldpost.sock"
)

// ringDefaults bound the rings that every store has. Each key is taken on its
// own, so that a user who sets one of them keeps the others.
var ringDefaults = []struct{ ring, key, value string }{
	{edge.RingAlarms, "keep", "100k events"},
	{edge.RingEvents, "keep", "1M events"},
	{edge.RingEvents, "size", "256MB"},
	{edge.RingSamples, "keep", "1M events"},
	{edge.RingSamples, "size", "256MB"},
	{edge.RingSamples, "age", "30d"},
	{edge.RingSamples, "sync", "1s"},
	{edge.RingAudit, "keep", "100k events"},
	{edge.RingAudit, "size", "32MB"},
	{edge.RingQuarantine, "keep", "10k events"},
	{edge.RingQuarantine, "size", "64MB"},
	{edge.RingLogs, "keep", "100k events"},
	{edge.RingLogs, "size", "32MB"},
}

// otherRing bounds a ring that the config gives no bound of count or bytes, such
// as one that a client made by publishing into it.
func otherRing() RingConfig {
	return RingConfig{Keep: 100_000, Size: 64_000_000}
}

// PlainUser reports whether a process runs as a plain user, whose files belong
// in the home folder: not root, and not the unit, for which systemd sets
// STATE_DIRECTORY.
func PlainUser(uid int, env []string) bool {
	return uid != 0 && lookup(env, "STATE_DIRECTORY") == ""
}

// DefaultDataDir is where the store is unless the config says otherwise.
func DefaultDataDir(plain bool, env []string) string {
	if !plain {
		return systemDataDir
	}
	if dir := lookup(env, "XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "fieldpost")
	}
	return filepath.Join(lookup(env, "HOME"), ".local", "state", "fieldpost")
}

// DefaultSocket is the command line's way in unless the config says otherwise.
func DefaultSocket(plain bool, env []string) string {
	if !plain {
		return systemSocket
	}
	if dir := lookup(env, "XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "fieldpost.sock")
	}
	return filepath.Join(DefaultDataDir(plain, env), "fieldpost.sock")
}

// lookup finds a variable in a list of NAME=value; the last one counts, as it
// does for a process.
func lookup(env []string, name string) string {
	value := ""
	for _, e := range env {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			value = v
		}
	}
	return value
}
