package main

import (
	"fmt"
	"strings"
)

// Where the README's two quick starts are.
const (
	readmeBoard = "On a Raspberry Pi"
	readmeHost  = "Five minutes with it"
)

// mostCommands is how many commands lead from the package to a live edge: fewer than five.
const mostCommands = 4

// shellFences gives the fenced blocks of shell below a heading of the second level, word
// for word.
func shellFences(readme, heading string) (fences []string, err error) {
	_, text, ok := strings.Cut("\n"+readme, "\n## "+heading+"\n")
	if !ok {
		return nil, fmt.Errorf("README.md has no heading %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for {
		_, rest, ok := strings.Cut(text, "```sh\n")
		if !ok {
			return fences, nil
		}
		fence, rest, ok := strings.Cut(rest, "\n```\n")
		if !ok {
			return nil, fmt.Errorf("README.md, %q: a block of shell has no end", heading)
		}
		fences, text = append(fences, fence), rest
	}
}

// quickCommands gives the commands that lead from the package to a live edge, one a
// line, and what is wrong with them as a quick start.
func quickCommands(readme string) ([]string, error) {
	fences, err := shellFences(readme, readmeBoard)
	if err != nil {
		return nil, err
	}
	for _, f := range fences {
		if strings.Contains(f, "apt install ./") {
			return quickBlock(f)
		}
	}
	return nil, fmt.Errorf("README.md, %q: no block installs the package with apt", readmeBoard)
}

func quickBlock(fence string) (commands []string, err error) {
	for line := range strings.Lines(fence) {
		line = strings.TrimSpace(line)
		switch n := commandsIn(line); {
		case n == 0:
		case n > 1:
			return nil, fmt.Errorf("%q is %d commands in one line", line, n)
		default:
			commands = append(commands, line)
		}
	}
	switch n := len(commands); {
	case n < 2 || n > mostCommands:
		return nil, fmt.Errorf("from the package to a live edge it takes %d commands, and it has to be fewer than %d:\n%s", n, mostCommands+1, fence)
	case !strings.HasPrefix(commands[0], "sudo apt install ./"):
		return nil, fmt.Errorf("the first command is %q, not apt install", commands[0])
	case !strings.HasPrefix(commands[n-1], "sudo fieldpost events -f"):
		return nil, fmt.Errorf("the last command is %q, not events -f", commands[n-1])
	}
	return commands, nil
}

// commandsIn counts the commands in a line of shell: those that ;, & and || part. A
// pipeline is one.
func commandsIn(line string) (n int) {
	begun, quote, before := false, rune(0), ' '
	for _, c := range line {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '#' && before == ' ':
			if begun {
				n++
			}
			return n
		case c == '\'' || c == '"':
			quote, begun = c, true
		case c == ';' || c == '&' && before != '>' || c == '|' && before == '|':
			if begun {
				n++
			}
			begun = false
		case c != ' ' && c != '|':
			begun = true
		}
		before = c
	}
	if begun {
		n++
	}
	return n
}
