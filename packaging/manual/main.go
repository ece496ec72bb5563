// Command manual writes the manual page fieldpost.yaml(5) to the standard output. It is
// made of what the config itself is: the words of the example that the package ships,
// and the keys, kinds and defaults of the structs that a config is decoded into.
//
//	manual packaging/fieldpost.yaml >fieldpost.yaml.5
package main

import (
	"fmt"
	"os"

	"fieldpost/edge/agent"
	"fieldpost/edge/config"
	"fieldpost/gpio"
	"fieldpost/uplink"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "manual: give it the example config")
		os.Exit(2)
	}
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		_, err = os.Stdout.WriteString(page(string(text), keys()))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

// keys are all keys of the config, with this program's drivers and senders.
func keys() []config.Reference { return config.References(agent.Tables()) }

// docs are the drivers' and senders' own words, by section and name.
func docs() map[string]string {
	all := map[string]string{}
	for _, d := range gpio.Drivers() {
		all["devices "+d.Name] = d.Doc
	}
	for _, s := range uplink.Senders() {
		all["uplinks "+s.Name] = s.Doc
	}
	return all
}
