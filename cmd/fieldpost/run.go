package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/edge/agent"
	"fieldpost/edge/config"
)

func runVerb(a *app) *cobra.Command {
	var path, dataDir string
	var simulate, verbose bool
	var sets, listen []string
	var twin simFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Runs the agent, until a signal ends it",
		Long: `Runs the agent. The first signal drains it: what was taken is stored, what an
uplink has not delivered stays on disk. A second signal ends it at once, with
exit code 1. SIGHUP takes the config anew, as "fieldpost reload" does, unless the
terminal that it was started in is gone: then it drains.`,
		Args: takes(0, 0, "no argument"),
	}
	f := cmd.Flags()
	f.StringVarP(&path, "config", "c", "", "the config `file` (FIELDPOST_CONFIG; default ./fieldpost.yaml and so on)")
	f.BoolVar(&simulate, "simulate", false, "run on a simulated board, on loopback")
	f.Uint64Var(&twin.seed, "seed", 0, "with --simulate: what all that is random is made of; without it the log names one")
	f.StringVar(&twin.bounce, "bounce", "", "with --simulate: contacts jump for up to this `time` after each change, such as 5ms")
	f.StringVar(&dataDir, "data-dir", "", "the `folder` of the store, over the config's data_dir")
	f.StringSliceVar(&listen, "listen", nil, "the `addresses` of the API, over the config's api.listen")
	f.StringArrayVar(&sets, "set", nil, "one `key=value` over the config's, such as store.headroom=50MB")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		flags := map[string]string{}
		for _, s := range sets {
			key, value, ok := strings.Cut(s, "=")
			if !ok || key == "" {
				return usagef("run: --set %q: write key=value", s)
			}
			flags[key] = value
		}
		if dataDir != "" {
			flags["data_dir"] = dataDir
		}
		if len(listen) > 0 {
			flags["api.listen"] = strings.Join(listen, ",")
		}
		if path := a.agentSocket(); path != "" {
			flags["api.socket"] = path
		}
		opt, err := twin.options(cmd, simulate)
		if err != nil {
			return err
		}
		return a.runAgent(cmd.Context(), path, flags, opt, verbose)
	}
	return cmd
}

// simFlags are the flags of a simulated board.
type simFlags struct {
	seed   uint64
	bounce string
}

// options are what the flags say to run on.
func (s simFlags) options(cmd *cobra.Command, simulate bool) (agent.Options, error) {
	opt := agent.Options{Simulate: simulate, Seed: s.seed}
	for _, name := range []string{"seed", "bounce"} {
		if cmd.Flags().Changed(name) && !simulate {
			return opt, usagef("run: --%s is for a simulated board: give --simulate too", name)
		}
	}
	if !cmd.Flags().Changed("seed") {
		opt.Seed = rand.Uint64()
	}
	if s.bounce != "" {
		var d edge.Duration
		if err := d.UnmarshalText([]byte(s.bounce)); err != nil || d < 0 {
			return opt, usagef("run: --bounce %q: write a time such as 5ms", s.bounce)
		}
		opt.Bounce = d.D()
	}
	return opt, nil
}

// agentSocket is the socket that the command line names, "" where it does not.
func (a *app) agentSocket() string {
	if a.socket != "" {
		return a.socket
	}
	return a.getenv("FIELDPOST_SOCKET")
}

func (a *app) runAgent(ctx context.Context, path string, flags map[string]string, opt agent.Options, verbose bool) error {
	cfg, err := a.loadConfig(path, flags)
	if err != nil {
		return err
	}
	log := a.logger(verbose)
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	b := thisBuild()
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	ctx, stop := a.drainOnSignal(ctx, log, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	hangups, end := reloadOnHangup(log, drain)
	defer end()
	opt.Config, opt.Version, opt.Revision, opt.Log, opt.Notices = cfg, b.Version, b.Revision, log, a.notices()
	opt.Load, opt.Reload = func() (*config.Config, error) { return a.loadConfig(path, flags) }, hangups
	if opt.Simulate {
		log.Info("the board is simulated", "seed", opt.Seed)
	}
	err = agent.Run(ctx, opt)
	return agentError(err)
}

// agentError gives what the agent ended with its exit code.
func agentError(err error) error {
	var mistake *agent.ConfigError
	if errors.As(err, &mistake) {
		return withCode(exitUsage, err)
	}
	return err
}

// logger writes to the standard error. Under systemd the journal has the times.
func (a *app) logger(verbose bool) *slog.Logger {
	opt := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		opt.Level = slog.LevelDebug
	}
	if a.getenv("JOURNAL_STREAM") != "" {
		opt.ReplaceAttr = func(groups []string, at slog.Attr) slog.Attr {
			if len(groups) == 0 && at.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return at
		}
	}
	return slog.New(slog.NewTextHandler(a.Err, opt))
}

// drainOnSignal is a context that the first of the signals ends. The second one ends the
// process at once.
func (a *app) drainOnSignal(ctx context.Context, log *slog.Logger, signals ...os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	got := make(chan os.Signal, 2)
	signal.Notify(got, signals...)
	over := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			case s := <-got:
				if n > 0 {
					fmt.Fprintf(a.Err, "fieldpost: %v again: stopped without draining\n", s)
					a.Exit(exitFailed)
					return
				}
				log.Info("draining; a second signal stops at once", "signal", s.String())
				cancel()
			}
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(over)
		cancel()
	}
}
