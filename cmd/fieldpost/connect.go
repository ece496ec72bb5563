package main

import (
	"os"
	"strings"

	"fieldpost/edge/config"
)

// client makes a client of the agent that the flags, the environment or the
// defaults name.
func (a *app) client() *client { return newClient(a.socketPath()) }

// socketPath is --socket, else FIELDPOST_SOCKET, else the default of an agent
// that this user runs, and where there is none the one of the package.
func (a *app) socketPath() string {
	if a.socket != "" {
		return a.socket
	}
	if path := a.getenv("FIELDPOST_SOCKET"); path != "" {
		return path
	}
	own, system := config.DefaultSocket(a.plain(), a.Environ), config.DefaultSocket(false, a.Environ)
	if !exists(own) && exists(system) {
		return system
	}
	return own
}

// getenv finds a variable; the last of a name counts.
func (sh *shell) getenv(name string) string {
	value := ""
	for _, e := range sh.Environ {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// plain reports whether this is a plain user, whose files are in their home.
func (sh *shell) plain() bool { return config.PlainUser(sh.UID, sh.Environ) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
