package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the scenario
	"errors"
	"fmt"
	"hash"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// monthText is 30 days of a small greenhouse: a door that bounces, a pump and a flow
// meter once a day, three sensors twice and once a minute.
//
//go:embed testdata/month.yaml
var monthText []byte

// monthEvents is what such a month has at least.
const monthEvents = 100_000

// month takes how long the twin needs for 30 days, twice: the logs must be the same.
func (b *bench) month(ctx context.Context) error {
	file := filepath.Join(b.dir, "month.yaml")
	if err := os.WriteFile(file, monthText, 0o600); err != nil {
		return fmt.Errorf("write the month's scenario: %w", err)
	}
	took := less()
	var first []byte
	for range 2 {
		out := lineSum{Hash: sha256.New()}
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, b.binary, "sim", file)
		cmd.Stdout, cmd.Stderr = &out, &said
		began := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("play a month: %w: %s", err, said.Bytes())
		}
		took.take(time.Since(began).Seconds())
		sum := out.Sum(nil)
		switch {
		case out.lines < monthEvents:
			return fmt.Errorf("play a month: %d events: that is no month", out.lines)
		case first != nil && !bytes.Equal(first, sum):
			return errors.New("play a month: the same seed gave another log")
		}
		first = sum
	}
	b.table.add(&row{name: "30 simulated days", ours: took, show: seconds, bound: 60})
	return nil
}

// lineSum is a sum that counts the lines too.
type lineSum struct {
	hash.Hash
	lines int
}

// Write takes what was printed.
func (c *lineSum) Write(b []byte) (int, error) {
	c.lines += bytes.Count(b, []byte("\n"))
	return c.Hash.Write(b)
}
