package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"fieldpost/queue"
)

// bootPlaces is where a card's first partition is mounted, which every PC can write:
// by Raspberry Pi OS from bookworm on, and before.
var bootPlaces = []string{"/boot/firmware", "/boot"}

// The file on that partition, what it becomes, and the mark that one was taken.
const (
	bootName   = "fieldpost.yaml"
	confFolder = "/etc/fieldpost"
	bootConfig = confFolder + "/conf.d/boot.yaml"
	bootStamp  = "/var/lib/fieldpost-firstboot/taken"
)

func firstbootVerb(a *app) *cobra.Command {
	var again bool
	cmd := &cobra.Command{
		Use:   "firstboot",
		Short: "Takes up the config that a PC put on the card, once; the package runs it before the agent",
		Long: `Takes up fieldpost.yaml of the card's boot partition (/boot/firmware, or /boot): it
becomes /etc/fieldpost/conf.d/boot.yaml, and is wiped from the partition, which everyone
who holds the card can read. fieldpost.yaml.taken says so there.

It is taken whole or not at all, and once. What is wrong with it stands beside it, in
fieldpost.yaml.error: mend it there, and start the board again. Exit code 2 where it was
not taken, 0 where there is none.`,
		Args: takes(0, 0, "no argument"),
	}
	cmd.Flags().BoolVar(&again, "again", false, "take one up in place of the one that was taken before")
	out := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		done, err := a.firstboot(again)
		if *out == asJSON {
			if err != nil {
				done.Problems = problemLines(err)
				err = withCode(exitCode(err), errSilent)
			}
			return errors.Join(printJSON(a.Out, done), err)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(a.Out, done.Text)
		for _, w := range done.Warnings {
			fmt.Fprintf(a.Err, "fieldpost: warning: %s\n", oneLine(w))
		}
		return nil
	}
	return cmd
}

// bootTaken is what firstboot did.
type bootTaken struct {
	Taken    string   `json:"taken,omitempty"`  // the file
	Config   string   `json:"config,omitempty"` // what it became
	Text     string   `json:"text"`
	Warnings []string `json:"warnings"`
	Problems []string `json:"problems"`
}

// firstboot takes the first file that is there. A power cut at any place leaves it to
// be taken again, or to be wiped: first the config is written, then the mark, and the
// file goes last.
func (a *app) firstboot(again bool) (bootTaken, error) {
	done := bootTaken{Warnings: []string{}, Problems: []string{}}
	file, ok := a.bootFile()
	if !ok {
		done.Text = "there is no " + bootName + " on the boot partition: nothing to take up"
		return done, nil
	}
	raw, err := readBootFile(a.Root + file)
	if err != nil {
		return done, a.refuseBoot(file, err)
	}
	text, err := bootText(raw)
	mark, marked := a.bootMark()
	switch {
	case marked && (mark.SHA256 == sumText(text) || wipedText(text)):
		done.Text = file + " was taken up before"
		done.Warnings = a.wipeBoot(file, done.Warnings)
		return done, nil
	case err != nil:
		return done, a.refuseBoot(file, err)
	case marked && !again && !a.bootInPlace(text):
		return done, a.refuseBoot(file, fmt.Errorf("%s: this system took one up already: change %s, or say sudo fieldpost firstboot --again", file, bootConfig))
	case !marked && !again && a.bootConflict(text):
		return done, a.refuseBoot(file, fmt.Errorf("%s: there is a %s of another origin: move it away, or say sudo fieldpost firstboot --again", file, bootConfig))
	}
	warnings, err := a.checkBoot(file, text)
	if err != nil {
		return done, a.refuseBoot(file, err)
	}
	if err := a.installBoot(file, text); err != nil {
		return done, fmt.Errorf("take up %s: %w", file, err)
	}
	done.Taken, done.Config = file, bootConfig
	done.Text = fmt.Sprintf("%s was taken up: it is %s now", file, bootConfig)
	done.Warnings = a.wipeBoot(file, append(done.Warnings, warnings...))
	return done, nil
}

// bootFile finds the file; its path is without the root.
func (a *app) bootFile() (string, bool) {
	for _, dir := range bootPlaces {
		file := filepath.Join(dir, bootName)
		if exists(a.Root + file) {
			return file, true
		}
	}
	return "", false
}

// bootInPlace reports whether the config is the file's already: a power cut came before
// its mark, or before the agent was let to read it.
func (a *app) bootInPlace(text []byte) bool {
	have, err := os.ReadFile(a.Root + bootConfig)
	return err == nil && string(have) == string(text)
}

// bootConflict reports whether another config has the name of ours: not one that a
// power cut left of this same file.
func (a *app) bootConflict(text []byte) bool {
	return exists(a.Root+bootConfig) && !a.bootInPlace(text)
}

// installBoot makes the file a part of the config, durably, then marks it as taken.
// It has the group of the config's folder, as the agent reads it by that.
func (a *app) installBoot(file string, text []byte) error {
	path := a.Root + bootConfig
	folder, err := os.Stat(a.Root + confFolder)
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(a.Root + bootStamp)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := queue.WriteFile(path, text); err != nil {
		return err
	}
	if err := ownAsFolder(path, folder); err != nil {
		return err
	}
	return a.markBoot(file, text)
}
