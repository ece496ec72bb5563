package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fieldpost/edge"
	"fieldpost/edge/agent"
	"fieldpost/edge/config"
	"fieldpost/gpio"
)

// demoPort is the API's usual one; where it is taken, any free one will do.
const demoPort = "127.0.0.1:8716"

// demoOptions are the flags of demo.
type demoOptions struct {
	outage  time.Duration // the line is cut for so long, once; 0: not by itself
	last    time.Duration // the demo ends by itself after this; 0: at a signal
	verbose bool
}

func demoVerb(a *app) *cobra.Command {
	var outage, last string
	var opt demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Shows the whole thing with nothing attached",
		Long: `Runs the agent on a simulated board with a door, a pump, a flow meter and a
thermometer, with a store in a temporary folder and an MQTT broker in the process
as its upstream. It prints where to look. All of it is on loopback, and gone when
it ends.`,
		Example: `  fieldpost demo
  fieldpost demo --outage 20s`,
		Args: takes(0, 0, "no argument"),
	}
	cmd.Flags().StringVar(&outage, "outage", "", "cut the line to the broker for this `time`, once, to watch the backlog")
	cmd.Flags().StringVar(&last, "for", "", "end by itself after this `time`")
	cmd.Flags().BoolVarP(&opt.verbose, "verbose", "v", false, "show the agent's log")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, f := range []struct {
			name, text string
			into       *time.Duration
		}{{"outage", outage, &opt.outage}, {"for", last, &opt.last}} {
			if f.text == "" {
				continue
			}
			var d edge.Duration
			if err := d.UnmarshalText([]byte(f.text)); err != nil || d <= 0 {
				return usagef("demo: --%s %q: write a time such as 20s", f.name, f.text)
			}
			*f.into = d.D()
		}
		return a.demo(cmd.Context(), opt)
	}
	return cmd
}

// demo builds the stage, runs the agent on it, and takes everything down again.
func (a *app) demo(ctx context.Context, opt demoOptions) error {
	log := a.logger(opt.verbose)
	if !opt.verbose {
		log = quiet(a.Err)
	}
	ctx, stop := a.drainOnSignal(ctx, log, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if opt.last > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opt.last)
		defer cancel()
	}
	dir, err := demoFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	broker, err := newDemoBroker()
	if err != nil {
		return err
	}
	defer broker.close()
	line, err := newDemoLine(broker.addr())
	if err != nil {
		return err
	}
	defer line.close()
	door, err := demoListener()
	if err != nil {
		return err
	}
	defer door.Close()
	d := &demo{app: a, opt: opt, broker: broker, line: line, url: "http://" + door.Addr().String() + "/", socket: filepath.Join(dir, "fieldpost.sock")}
	if given := a.agentSocket(); given != "" {
		d.socket = given
	}
	cfg, err := d.config(dir)
	if err != nil {
		return err
	}
	if d.board, err = gpio.Simulate(gpio.SimOptions{}); err != nil {
		return err
	}
	b := thisBuild()
	return d.run(ctx, agent.Options{
		Config: cfg, Version: b.Version, Revision: b.Revision, Log: log,
		Simulate: true, Pins: d.board, Listeners: []net.Listener{door}, Demo: true, Cut: line.cutFor,
	})
}

// demo is what is on the stage.
type demo struct {
	*app
	opt    demoOptions
	broker *demoBroker
	line   *demoLine
	board  *gpio.SimBoard
	url    string
	key    string
	socket string
}

// run runs the agent, and once it is ready the script and the count, until ctx is
// done or the agent ends.
func (d *demo) run(ctx context.Context, opt agent.Options) error {
	acts, stopActs := context.WithCancel(ctx)
	defer stopActs()
	var wg sync.WaitGroup
	opt.Ready = func() {
		d.introduce()
		c := newClient(d.socket)
		wg.Go(func() { demoScript(acts, d.board, c) })
		wg.Go(func() { d.outages(acts) })
		wg.Go(func() { d.count(acts, newClient(d.socket)) })
	}
	err := agent.Run(ctx, opt)
	stopActs()
	wg.Wait()
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if err == nil {
		fmt.Fprintf(d.Out, "the broker got %d events; the demo is over and its folder is gone\n", d.broker.events())
	}
	return agentError(err)
}

// introduce says where to look.
func (d *demo) introduce() {
	fmt.Fprintf(d.Out, `fieldpost demo: a simulated board, and a broker in this process as its upstream

  look    %s#key=%s
  read    curl -H "Authorization: Bearer %s" "%sv1/events?limit=5"
  follow  %s --socket %s events -f
  switch  %s --socket %s set pump pulse 5s

Ctrl-C ends it.
`, d.url, d.key, d.key, d.url, os.Args[0], d.socket, os.Args[0], d.socket) // as it was called: it may not be in the PATH
}

// outages cuts the line once, where --outage asks for it.
func (d *demo) outages(ctx context.Context) {
	if d.opt.outage <= 0 {
		return
	}
	const before = 3 * time.Second
	if !sleep(ctx, before) {
		return
	}
	fmt.Fprintf(d.Out, "\nthe line to the broker is cut for %v\n", d.opt.outage)
	d.line.cut(true)
	sleep(ctx, d.opt.outage)
	d.line.cut(false)
	if ctx.Err() == nil {
		fmt.Fprintln(d.Out, "\nthe line is back")
	}
}

// sleep waits, and reports whether it did to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// demoFolder makes the folder of the demo, with a path that is short enough for a
// socket in it.
func demoFolder() (string, error) {
	dir, err := os.MkdirTemp("", "fieldpost-demo-")
	if err == nil && len(dir) > 80 {
		_ = os.Remove(dir) // it is empty
		dir, err = os.MkdirTemp("/tmp", "fieldpost-demo-")
	}
	if err != nil {
		return "", fmt.Errorf("make the demo's folder: %w", err)
	}
	return dir, nil
}

func demoListener() (net.Listener, error) {
	l, err := net.Listen("tcp", demoPort)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("open the demo's API: %w", err)
	}
	return l, nil
}

// config writes the demo's config and reads it as any other.
func (d *demo) config(dir string) (*config.Config, error) {
	d.key = randomKey()
	path := filepath.Join(dir, "fieldpost.yaml")
	text := fmt.Sprintf(demoConfig, filepath.Join(dir, "data"), d.socket, d.key, d.line.addr())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the demo's config: %w", err)
	}
	return config.Load(config.Source{Path: path, Tables: agent.Tables()})
}
