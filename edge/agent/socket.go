package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// socketGroup may use the command line as root may (DESIGN.md section 8).
const socketGroup = "fieldpost"

// maxSocketPath is what the kernel takes for a Unix socket's path.
const maxSocketPath = 107

// takenError: something else answers there.
type takenError struct{ path string }

func (e *takenError) Error() string {
	return fmt.Sprintf("listen on socket %s: another agent answers there: stop it, or give this one its own --socket", e.path)
}

func isTaken(err error) bool {
	var taken *takenError
	return errors.As(err, &taken)
}

// listenSocket listens on a Unix socket. What a dead agent left behind is taken
// away; a living one is an error.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listen on socket %s: its path is over %d bytes", path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of socket %s: %w", path, err)
	}
	if err := clearSocket(ctx, path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	if err := openToGroup(path); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen on socket %s: %w", path, err)
	}
	return l, nil
}

// clearSocket takes away a socket that nobody answers on.
func clearSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at socket %s: %w", path, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("listen on socket %s: there is a file in its place", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		_ = c.Close() // it was only asked whether anyone is there
		return &takenError{path}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("take away the old socket %s: %w", path, err)
	}
	return nil
}

// openToGroup lets the group fieldpost, where there is one, connect. Who may do
// what is decided by the peer's credentials.
func openToGroup(path string) error {
	if g, err := user.LookupGroup(socketGroup); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(path, -1, gid) // a plain user can't: then it is theirs alone
		}
	}
	return os.Chmod(path, 0o660)
}
