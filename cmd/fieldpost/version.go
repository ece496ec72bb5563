package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build (-ldflags "-X main.version=...").
var version string

// build is what this binary was made of.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild reads what the linker and the Go command noted in the binary.
func thisBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

func versionVerb(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Shows what this binary is", Args: takes(0, 0, "no argument")}
	out := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := thisBuild()
		if *out == asJSON {
			return printJSON(a.Out, b)
		}
		text := "fieldpost " + b.Version
		if b.Revision != "" {
			text += " (" + b.Revision + ")"
		}
		_, err := fmt.Fprintf(a.Out, "%s %s %s\n", text, b.Go, b.Platform)
		return err
	}
	return cmd
}
