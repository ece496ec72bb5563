package main

import (
	"fmt"
	"regexp"
	"strings"
)

// version is a Debian version with a revision, such as 0.3.0+git12.abc1234-1.
type version string

// upstream is the version without Debian's revision: what the binary says it is.
func (v version) upstream() string {
	i := strings.LastIndexByte(string(v), '-')
	return string(v)[:i]
}

var (
	legal     = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~]*-[0-9][0-9A-Za-z.+~]*$`)
	described = regexp.MustCompile(`^([0-9][0-9A-Za-z.]*?)(?:-([A-Za-z][0-9A-Za-z.]*))?(?:-([0-9]+)-g([0-9a-f]{4,}))?$`)
	bareHash  = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
)

// debianVersion makes a Debian version of what git describe says, so that later
// ones sort higher:
//
//	v1.2.0              1.2.0-1
//	v1.2.0-rc.1         1.2.0~rc.1-1, below 1.2.0
//	v1.2.0-14-gabc1234  1.2.0+git14.abc1234-1, above 1.2.0
//	v1.2.0-dirty        1.2.0+dirty-1
//	abc1234             0.0.0+git0.abc1234-1: no tag, and no count either
//
// A Debian version stays as it is.
func debianVersion(text string) (version, error) {
	s, dirty := strings.CutSuffix(strings.TrimPrefix(text, "v"), "-dirty")
	out := ""
	switch m := described.FindStringSubmatch(s); {
	case bareHash.MatchString(s) && strings.ContainsAny(s, "abcdef"):
		out = "0.0.0+git0." + s
	case m != nil:
		out = m[1]
		if m[2] != "" {
			out += "~" + m[2]
		}
		if m[3] != "" {
			out += "+git" + m[3] + "." + m[4]
		}
	case legal.MatchString(s) && !dirty:
		return version(s), nil
	default:
		return "", fmt.Errorf("make a version of %q: write it like v1.2.0, or as a Debian version like 1.2.0-1", text)
	}
	switch {
	case dirty && strings.Contains(out, "+"):
		out += ".dirty"
	case dirty:
		out += "+dirty"
	}
	return version(out + "-1"), nil
}
