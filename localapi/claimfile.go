package localapi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fieldpost/queue"
)

// claimForm is the line of a claim's file: the code as people read it, and the
// wrong ones that were tried since. All of them mean that the pause is on.
const claimForm = "%s %02d\n"

// triesAt is where the tries are in it.
const triesAt = claimDigits + 2

// load reads the code. A file that others could read, or that is not what save
// wrote, has no code.
func (c *claim) load() error {
	info, err := os.Lstat(c.file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("read %s: it is not a file of the agent's alone", c.file)
	}
	b, err := os.ReadFile(c.file)
	if err != nil {
		return err
	}
	if err := c.parse(b); err != nil {
		return fmt.Errorf("read %s: %w", c.file, err)
	}
	if c.wrong == claimTries {
		c.until = c.now().Add(claimPause) // what was left of it is not known
	}
	return nil
}

// parse takes the code and the tries out of a file.
func (c *claim) parse(b []byte) error {
	shown, tries, _ := strings.Cut(string(b), " ")
	code, ok := claimCode(shown)
	var wrong int
	if _, err := fmt.Sscanf(tries, "%02d\n", &wrong); !ok || err != nil || wrong < 0 || wrong > claimTries {
		return errors.New("it is damaged")
	}
	c.code, c.wrong = code, wrong
	return nil
}

// save writes the code so that a power cut leaves the old file or the new one.
func (c *claim) save() error {
	return queue.WriteFile(c.file, fmt.Appendf(nil, claimForm, c.shown(), c.wrong))
}

// note writes the wrong tries down, for a restart. It asks for no flush: who can
// cut the power has the board, and a card is not worn by strangers who guess.
func (c *claim) note() {
	f, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		return // it is in memory alone
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%02d", c.wrong), triesAt)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		c.log.Warn("note a wrong claim code", "err", err)
	}
}

// takeAway takes the code off the disk for good.
func (c *claim) takeAway() error {
	gone := false
	for _, name := range []string{c.file, c.file + ".new"} {
		err := os.Remove(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take the claim code away: %w", err)
		}
		gone = gone || err == nil
	}
	if !gone {
		return nil
	}
	return queue.SyncFolder(filepath.Dir(c.file))
}
