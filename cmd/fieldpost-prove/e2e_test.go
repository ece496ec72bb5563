package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// buildFieldpost builds the program as it is shipped.
func buildFieldpost(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "fieldpost")
	cmd := exec.Command("go", "build", "-o", binary, "fieldpost/cmd/fieldpost")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build fieldpost: %v\n%s", err, out)
	}
	return binary
}

// TestEndToEnd is the promise of the whole: what the API acknowledged reaches
// the broker, whatever dies or hangs on the way.
func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for minutes")
	}
	for _, program := range []string{"mosquitto", "mosquitto_sub"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v; `make setup` installs it", err)
		}
	}
	binary := buildFieldpost(t)
	defer goleak.VerifyNone(t)
	t.Run("AllFaults", func(t *testing.T) { runEndToEnd(t, allFaults(binary, t.TempDir(), t.Output())) })
	t.Run("SoftFaults", func(t *testing.T) { runEndToEnd(t, softFaults(binary, t.TempDir(), t.Output())) })
}

func runEndToEnd(t *testing.T, e *E2E) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
}
