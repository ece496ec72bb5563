package main

import (
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// watchSources looks at every source file of the module, so that go test does not
// take an old result where a test runs another program over them: it knows only of
// files that the test itself looked at.
func watchSources(t *testing.T) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == ".git" || name == "bin" || name == "dist") {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() && !strings.HasSuffix(path, "_test.go") {
			seen++
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil || seen < 20 {
		t.Fatalf("look at the sources: %d files, %v", seen, err)
	}
}

// buildFieldpost builds the program as it is shipped.
func buildFieldpost(t *testing.T) string {
	t.Helper()
	watchSources(t)
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
	out := t.Output()
	if path := os.Getenv("PROVE_REPORT"); path != "" { // go test shows a passing test's words with -v only
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = io.MultiWriter(out, f)
	}
	t.Run("AllFaults", func(t *testing.T) { runEndToEnd(t, allFaults(binary, t.TempDir(), out)) })
	t.Run("SoftFaults", func(t *testing.T) { runEndToEnd(t, softFaults(binary, t.TempDir(), out)) })
}

func runEndToEnd(t *testing.T, e *E2E) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
}
