package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// natsModule is the peer, pinned: Debian 12 has 2.9, which can't flush before it
// acknowledges (no sync_interval: always).
const natsModule = "github.com/nats-io/nats-server/v2@v2.15.2"

// buildNATS gives the path of that nats-server. It is built once, through the Go
// module proxy, into the user's cache: the bench's tool, and no part of the module.
func buildNATS(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache: %w", err)
	}
	_, version, _ := strings.Cut(natsModule, "@")
	dir := filepath.Join(cache, "fieldpost", "nats-server-"+version)
	path := filepath.Join(dir, "nats-server")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", natsModule)
	cmd.Dir = os.TempDir() // in no module: its go.mod is not ours
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", natsModule, err, bytes.TrimSpace(out))
	}
	return path, nil
}
