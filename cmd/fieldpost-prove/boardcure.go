package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// adminRules is where a user puts a rule for udev.
const adminRules = "/etc/udev/rules.d"

// cureStep is one thing that the agent asks its user to do.
type cureStep struct {
	command []string // to run
	file    string   // or the name of a udev rule to write
	rule    string
}

var cureWords = regexp.MustCompile(`sudo ([a-z][^,;\n]*)|a udev rule such as the package's (\S+) \(([^)\n]*)\)|start the agent again`)

// cureSteps takes out of a text what it asks for, in its order. Where several
// devices are told of, each says the same.
func cureSteps(text string) (steps []cureStep) {
	for line := range strings.Lines(text) {
		for _, m := range cureWords.FindAllStringSubmatch(line, -1) {
			switch {
			case m[1] != "":
				steps = append(steps, cureStep{command: strings.Fields(m[1])})
			case m[2] != "":
				steps = append(steps, cureStep{file: filepath.Base(m[2]), rule: m[3]})
			default:
				steps = append(steps, cureStep{command: []string{"systemctl", "restart", boardUnit}})
			}
		}
		if len(steps) > 0 {
			return steps
		}
	}
	return nil
}

func (s cureStep) String() string {
	if s.file != "" {
		return "write " + s.file + ": " + s.rule
	}
	return strings.Join(s.command, " ")
}

// cure does what the agent said and nothing else, word for word.
func cure(ctx context.Context, steps []cureStep) (seen []string, err error) {
	if len(steps) == 0 {
		return nil, errors.New("the agent says nothing that could be done")
	}
	for _, s := range steps {
		seen = append(seen, s.String())
		if s.file != "" {
			err = os.WriteFile(filepath.Join(adminRules, s.file), []byte(s.rule+"\n"), 0o644)
		} else {
			_, err = command(ctx, s.command[0], s.command[1:]...)
		}
		if err != nil {
			return seen, fmt.Errorf("do as the agent says: %w", err)
		}
	}
	return seen, nil
}

// uncure takes the rules away again that a cure wrote.
func uncure(steps []cureStep) (err error) {
	for _, s := range steps {
		if s.file != "" {
			err = errors.Join(err, os.Remove(filepath.Join(adminRules, s.file)))
		}
	}
	return err
}

// ruleIn is the rule in a file of rules that has one.
func ruleIn(file []byte) string {
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return "no rule"
}
