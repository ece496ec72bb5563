package main

import (
	"context"
	"io"
	"os"
)

func main() {
	sh := &shell{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), UID: os.Getuid(), Exit: os.Exit}
	os.Exit(run(context.Background(), os.Args[1:], sh))
}

// shell is what a verb has of the world around it, so that a test can give
// another one.
type shell struct {
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
	Environ []string  // NAME=value
	UID     int       // a user other than 0 has their own default paths
	Exit    func(int) // called by the second signal alone
	Root    string    // before the paths that doctor looks at; "" is the machine's own
}

// run is main without the process: it runs one verb and gives the exit code.
func run(ctx context.Context, args []string, sh *shell) int {
	root := newRoot(sh)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	report(sh.Err, err)
	return exitCode(err)
}
