package edge_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"fieldpost/edge"
	"fieldpost/edge/edgetest"
	"fieldpost/queue"
)

// brokenStore panics in the flush.
type brokenStore struct{ *edgetest.Memory }

func (brokenStore) Append(queue.Batch) (queue.Receipt, error) { panic("a fault of ours") }

// A panic in a flush on a caller's goroutine ends the program even where the
// caller is recovered, as net/http does with its handlers.
func TestPanicInACallersFlushEndsTheProgram(t *testing.T) {
	const child = "FIELDPOST_TEST_PANIC"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "panic: a fault of ours") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	m := edgetest.NewMemory()
	p := edge.NewPump(edge.PumpOptions{Agent: "test", Store: brokenStore{m}, Clock: edge.NewClock(edgetest.NewBoard("boot-1").Board())})
	go func() { _ = p.Run(t.Context()) }()
	_ = p.Commit(context.Background()) // Run has begun, so that callers flush
	func() {
		defer func() { _ = recover() }()
		_, _ = p.Post(context.Background(), []edge.Event{message("a", `1`)}, edge.Idempotency{})
	}()
	t.Log("it lives on")
}
