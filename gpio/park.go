package gpio

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Shelf keeps line requests while no process of ours runs: a descriptor on it
// holds its line, and the kernel goes on queueing that line's edges. systemd's
// descriptor store is one (sd_notify(3), FDSTORE=1). Calls end within seconds.
type Shelf interface {
	// Put keeps a copy of a descriptor under a name, and returns once the shelf
	// has taken it. After an error it may have done so or not.
	Put(name string, fd int) error
	// Remove lets go of what is kept under a name; of nothing where there is none.
	Remove(name string) error
}

// parkedName is the name that a line request has on the shelf. It says all that
// a later process must know to go on with it: nothing of that can be asked of
// the descriptor itself.
type parkedName struct {
	output bool
	label  string // of the chip
	offset int
	owner  string // hash of LineConfig.Park and what its edges mean
	config string // hash of what the request was made with
	id     string // of the request; the numbers of its edges count within it
}

// parkedPrefix sets our descriptors apart from sockets that systemd may pass.
const parkedPrefix = "gpio."

// String is the name: letters, digits, dots and dashes, below the 255 bytes that
// systemd takes.
func (n parkedName) String() string {
	way := "in"
	if n.output {
		way = "out"
	}
	return fmt.Sprintf("%s%s.%s.%d.%s.%s.%s", parkedPrefix, way, n.label, n.offset, n.owner, n.config, n.id)
}

// parseParkedName reads a name back; false where it is none of ours.
func parseParkedName(s string) (parkedName, bool) {
	f := strings.Split(s, ".")
	if len(f) != 7 || f[0]+"." != parkedPrefix || f[1] != "in" && f[1] != "out" {
		return parkedName{}, false
	}
	offset, err := strconv.Atoi(f[3])
	if err != nil || offset < 0 || f[2] == "" || f[4] == "" || f[5] == "" || f[6] == "" {
		return parkedName{}, false
	}
	return parkedName{output: f[1] == "out", label: f[2], offset: offset, owner: f[4], config: f[5], id: f[6]}, true
}

// parkedLabel is a chip's label as it stands in a name.
func parkedLabel(label string) string {
	b := []byte(label)
	for i, c := range b {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
		if !ok {
			b[i] = '-'
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}

// shortHash is 8 hex digits that differ where the text does.
func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// hash tells configs apart that need another request, or another SET_CONFIG. The
// level is not of it: a parked output keeps the one that it has.
func (c *LineConfig) hash() string {
	return shortHash(fmt.Sprintf("%t %t %d %d %d", c.Output, c.ActiveLow, c.Bias, c.Edges, c.Debounce))
}

// owner tells those apart that can't go on with each other's edges. A polarity is
// of it: what is queued has the old one.
func (c *LineConfig) owner() string {
	if c.Output {
		return shortHash(c.Park)
	}
	return shortHash(fmt.Sprintf("%s %t %d", c.Park, c.ActiveLow, c.Edges))
}

// parkedLine is a request that is on the shelf and held by nobody here.
type parkedLine struct {
	parkedName
	text string // the name as it is on the shelf
	file *os.File
}

// lineKey names a line for as long as the machine is the same.
type lineKey struct {
	label  string // as parkedLabel gives it
	offset int
}

// sortParked sorts what systemd passed by line. Of no use are what is there twice
// and what another version named: nobody else would ever release their lines.
// Descriptors that are no line of ours are left alone.
func sortParked(files []*os.File) (parked map[lineKey]*parkedLine, useless []*parkedLine) {
	parked = map[lineKey]*parkedLine{}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), parkedPrefix) {
			continue
		}
		name, ok := parseParkedName(f.Name())
		p := &parkedLine{parkedName: name, text: f.Name(), file: f}
		key := lineKey{name.label, name.offset}
		if !ok || parked[key] != nil {
			useless = append(useless, p)
			continue
		}
		parked[key] = p
	}
	return parked, useless
}
