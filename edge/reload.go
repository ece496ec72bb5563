package edge

import (
	"errors"
	"slices"
	"strings"
)

// Reloaded is what a reload of the config changed.
type Reloaded struct {
	Config   string   `json:"config"`   // hash of the config that counts from now on
	Before   string   `json:"before"`   // and of the one before it
	Devices  Changes  `json:"devices"`  //
	Uplinks  Changes  `json:"uplinks"`  //
	Other    []string `json:"other"`    // keys and sections beside them that changed
	Warnings []string `json:"warnings"` // of the new config, and what of it waits for the next reload or start
}

// Nothing reports whether the config was as before.
func (r *Reloaded) Nothing() bool {
	return r.Devices.nothing() && r.Uplinks.nothing() && len(r.Other) == 0
}

// Changes are the entries of a section, by what became of them.
type Changes struct {
	Added     []string `json:"added"`
	Changed   []string `json:"changed"`
	Removed   []string `json:"removed"`
	Restarted []string `json:"restarted"` // the same, started again since they depend on one that changed
	Untouched int      `json:"untouched"`
}

func (c *Changes) nothing() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// Sort puts the names in order, and makes empty lists of none.
func (c *Changes) Sort() {
	for _, list := range []*[]string{&c.Added, &c.Changed, &c.Removed, &c.Restarted} {
		slices.Sort(*list)
		*list = append([]string{}, *list...)
	}
}

// ErrReloading: a reload is under way, or the agent is still starting.
var ErrReloading = errors.New("another reload is under way")

// ReloadError says why a reload was refused. The config before runs on.
type ReloadError struct {
	// Config is set where the new config has mistakes, as a check of it finds them.
	Config bool
	// Reasons are all that there are, each with its place where it has one. No secret
	// is in them.
	Reasons []string
}

// Error gives the reasons.
func (e *ReloadError) Error() string { return strings.Join(e.Reasons, "; ") }
