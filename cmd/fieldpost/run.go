package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"fieldpost/edge/agent"
	"fieldpost/edge/config"
)

func runVerb(a *app) *cobra.Command {
	var path, dataDir string
	var simulate, verbose bool
	var sets, listen []string
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
		return a.runAgent(cmd.Context(), path, flags, simulate, verbose)
	}
	return cmd
}

// agentSocket is the socket that the command line names, "" where it does not.
func (a *app) agentSocket() string {
	if a.socket != "" {
		return a.socket
	}
	return a.getenv("FIELDPOST_SOCKET")
}

func (a *app) runAgent(ctx context.Context, path string, flags map[string]string, simulate, verbose bool) error {
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
	err = agent.Run(ctx, agent.Options{Config: cfg, Version: b.Version, Revision: b.Revision, Log: log, Simulate: simulate, Notices: a.notices(),
		Load: func() (*config.Config, error) { return a.loadConfig(path, flags) }, Reload: hangups})
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
