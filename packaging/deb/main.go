// Command deb packs one Debian package of Fieldpost: a static binary and the files
// beside it. Each byte of it depends on the flags and on those files only.
//
//	deb -arch armhf -binary bin/fieldpost-linux-armv6 -version v0.3.0-12-gabc1234 -mtime 1790000000 -out dist
//
// It prints the path of what it wrote.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "deb:", err)
		os.Exit(1)
	}
}

func run(args []string, out, complaints io.Writer) error {
	flags := flag.NewFlagSet("deb", flag.ContinueOnError)
	flags.SetOutput(complaints)
	o := options{Root: "../.."}
	var mtime int64
	var dir, describe string
	var upstream bool
	flags.StringVar(&o.Root, "root", o.Root, "the `folder` of the source")
	flags.StringVar(&o.Binary, "binary", "", "the static binary, a `file`")
	flags.StringVar(&o.Arch, "arch", "", "Debian's `name` of the architecture: arm64, armhf or amd64")
	flags.StringVar(&o.Config, "config", "", "the `file` to ship as fieldpost.yaml, in place of packaging/fieldpost.yaml")
	flags.StringVar(&o.Notices, "notices", "", "the `file` with the licences of the libraries in the binary")
	flags.StringVar(&o.Shells, "completions", "", "the `folder` with what fieldpost completion writes for bash, zsh and fish")
	flags.StringVar(&o.Manual, "manual", "", "the `file` with the manual page of the config")
	flags.StringVar(&describe, "version", "", "the version: what git describe says, or a Debian `version`")
	flags.Int64Var(&mtime, "mtime", 0, "the time of every file, in `seconds` since 1970")
	flags.StringVar(&dir, "out", "dist", "the `folder` to write to")
	flags.BoolVar(&upstream, "print-version", false, "print the version that the binary should have, and pack nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	version, err := debianVersion(describe)
	if err != nil {
		return err
	}
	if upstream {
		_, err := fmt.Fprintln(out, version.upstream())
		return err
	}
	o.Version, o.MTime = version, time.Unix(mtime, 0).UTC()
	path, err := write(o, dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, path)
	return err
}

// write packs into a new file and gives it its name last, so that a file of that
// name is always a whole package.
func write(o options, dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	f, err := os.CreateTemp(dir, ".deb-*")
	if err != nil {
		return "", fmt.Errorf("make file: %w", err)
	}
	defer func() {
		_ = f.Close()           // closed already where it went well
		_ = os.Remove(f.Name()) // and has another name
	}()
	if err := pack(o, f); err != nil {
		return "", err
	}
	if err := f.Chmod(0o644); err != nil {
		return "", fmt.Errorf("chmod package: %w", err)
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("close package: %w", err)
	}
	if err := checkSize(f.Name(), maxPackage); err != nil {
		return "", fmt.Errorf("package for %s: %w", o.Arch, err)
	}
	path = filepath.Join(dir, "fieldpost_"+string(o.Version)+"_"+o.Arch+".deb")
	if err := os.Rename(f.Name(), path); err != nil {
		return "", fmt.Errorf("name package: %w", err)
	}
	return path, nil
}
