package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// verb is one thing that the driver does.
type verb struct {
	name string
	doc  string
	run  func(ctx context.Context, args []string, out io.Writer) error
}

// verbs is the table of them.
func verbs() []verb {
	return []verb{
		{"e2e", "the end-to-end runs with faults; fails where an event is lost", runE2E},
		{"prove", "every fault of the store's promises, and what each lost", runProve},
		{"crash-writer", "the workload of the crash states, in a process of its own; prove starts it", runCrashWriter},
		{"rotworker", "takes the damaged stores of prove, in a process of its own", runRotWorker},
		{"bench", "the numbers beside the peers'", runBench},
		{"board", "the package on the emulated board; packaging/board/test-deb runs it there", runBoard},
	}
}

var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "fieldpost-prove:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "fieldpost-prove:", err)
		os.Exit(1)
	}
}

// run carries out one verb.
func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		for _, v := range verbs() {
			if v.name == args[0] {
				return v.run(ctx, args[1:], out)
			}
		}
	}
	list := ""
	for _, v := range verbs() {
		list += fmt.Sprintf("\n  %-12s %s", v.name, v.doc)
	}
	return fmt.Errorf("%w: fieldpost-prove VERB [flags], where VERB is one of%s", errUsage, list)
}

// flags makes the flag set of a verb, with the flag that all have.
func flags(name string, out io.Writer) (*flag.FlagSet, *string) {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(out)
	binary := fs.String("fieldpost", "bin/fieldpost", "the built `binary` to prove")
	return fs, binary
}

// parse reads a verb's flags; what is wrong with them is a usage error.
func parse(fs *flag.FlagSet, args []string) error {
	err := fs.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err == nil && fs.NArg() > 0 {
		return fmt.Errorf("%w: %s takes no arguments, and got %q", errUsage, fs.Name(), fs.Arg(0))
	}
	return err
}

func runE2E(ctx context.Context, args []string, out io.Writer) error {
	fs, binary := flags("e2e", out)
	keep := fs.String("keep", "", "leave the runs' files in this `folder`")
	if err := parse(fs, args); err != nil {
		return err
	}
	dir := *keep
	if dir == "" {
		temp, err := os.MkdirTemp("", "fieldpost-prove-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	return errors.Join(
		allFaults(*binary, dir+"/all", out).Run(ctx),
		softFaults(*binary, dir+"/soft", out).Run(ctx),
	)
}
