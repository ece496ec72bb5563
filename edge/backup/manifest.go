package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"time"
)

// Format is the version of the file that this version writes, and the newest that
// it reads.
const Format = 1

const (
	manifestName = "manifest.json"
	sumsName     = "sums.json"
	storeDir     = "store/"
	panelDir     = "config.d/"
	configDir    = "config/"

	maxManifest = 8 << 20 // bytes of manifest.json, and of sums.json
	maxMembers  = 50_000
)

// Manifest says what a backup has. It is the first member.
type Manifest struct {
	Format   int       `json:"format"`
	Made     time.Time `json:"made"`    // by the clock of the board, as it was
	Version  string    `json:"version"` // of the Fieldpost that made it
	Agent    string    `json:"agent"`
	Store    string    `json:"store"`    // the store's own id
	Epoch    string    `json:"epoch"`    // 8 hex digits
	Position string    `json:"position"` // of the newest event in it: <epoch>.<n>
	LeftOut  []string  `json:"left_out"` // what the config refers to and is not in it, sorted
	Members  []Member  `json:"members"`  // in their order
}

// Member is one file of a backup.
type Member struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // in bytes
}

// Bytes is what all members take; the most that there is where it is more than that.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Members {
		if f.Size > math.MaxInt64-n {
			return math.MaxInt64
		}
		n += f.Size
	}
	return n
}

// Configs are the paths that the config files had.
func (m *Manifest) Configs() (paths []string) {
	for _, f := range m.Members {
		if rest, ok := strings.CutPrefix(f.Name, configDir); ok {
			paths = append(paths, "/"+rest)
		}
	}
	return paths
}

// ErrNewer: the file was written by a newer Fieldpost.
var ErrNewer = errors.New("it is newer than this version")

// check refuses a manifest that no backup of ours has.
func (m *Manifest) check() error {
	if m.Format > Format {
		return fmt.Errorf("%w: it is of format %d, and %d is known: install a newer fieldpost", ErrNewer, m.Format, Format)
	}
	if m.Format < 1 || len(m.Members) > maxMembers {
		return errors.New("its manifest makes no sense")
	}
	seen := map[string]bool{}
	for _, f := range m.Members {
		if !goodName(f.Name) || f.Size < 0 || seen[f.Name] {
			return fmt.Errorf("its manifest has a member %.200q of %d bytes, which no backup has", f.Name, f.Size)
		}
		seen[f.Name] = true
	}
	if !seen[storeDir+"state.db"] {
		return errors.New("there is no store in it")
	}
	return nil
}

// goodName reports whether a member may have the name: below one of the folders,
// and with no way out of it.
func goodName(name string) bool {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\x00") || len(name) > 4096 {
		return false
	}
	if rest, ok := strings.CutPrefix(name, storeDir); ok {
		parts := strings.Split(rest, "/")
		return rest == "state.db" || len(parts) == 3 && parts[0] == "rings" && parts[1][0] != '.' && strings.HasSuffix(parts[2], ".seg")
	}
	return strings.HasPrefix(name, panelDir) || strings.HasPrefix(name, configDir)
}
