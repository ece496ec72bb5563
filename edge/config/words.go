package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxWord is the most bytes of a value that an error text shows.
const maxWord = 48

// login finds what a URL has before the @ of its host. It takes too much rather
// than too little, since people put a / or an @ into passwords.
var login = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)\S*@`)

// querySecret finds what a URL's query has for a name that is likely to have a secret.
var querySecret = regexp.MustCompile(`(?i)([?&][^=&#\s]*(?:auth|token|secret|passw|key|cookie|credential|appid)[^=&#\s]*=)[^&#\s]+`)

// hideLogin masks the user and password of each URL in s, and the keys in its query.
func hideLogin(s string) string {
	return querySecret.ReplaceAllString(login.ReplaceAllString(s, "${1}********@"), "${1}********")
}

// quote shows a user's text in an error: short, on one line, without a URL's
// login.
func quote(s string) string {
	s = hideLogin(s)
	if len(s) > maxWord {
		s = strings.ToValidUTF8(s[:maxWord], "") + "..."
	}
	return strconv.Quote(s)
}

// nearest gives the word of known that is most like word, or "" where none is
// like it.
func nearest(word string, known []string) string {
	best, bestDist := "", len(word)/3+2
	low := strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	for _, k := range known {
		d := distance(low, k)
		if len(low) >= 3 && (strings.HasPrefix(k, low) || strings.HasPrefix(low, k)) {
			d = min(d, 1)
		}
		if d < bestDist && d < len(k) {
			best, bestDist = k, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out, changed or swapped
// with their neighbour to make a into b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}

// didYouMean is the cure of an unknown word: the nearest known one, else all.
func didYouMean(word string, known []string) string {
	if n := nearest(word, known); n != "" {
		return "did you mean " + n + "?"
	}
	if len(known) == 0 {
		return "take it out"
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "it can be " + oneOf(known)
}

// oneOf lists words as "a, b or c".
func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// maxNameLen is the most letters of a name: it ends up in topics and file names.
const maxNameLen = 64

var (
	goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	badRun   = regexp.MustCompile(`[^a-z0-9_-]+`)
	reserved = []string{"gap", "agent", "ledger"}
)

// nameProblem says what is wrong with the name of a device, ring, uplink, key or
// mailbox, and the cure; two empty texts where it is fine.
func nameProblem(kind, name string) (what, cure string) {
	if slices.Contains(reserved, name) {
		return kind + " name " + quote(name) + " is reserved", "choose another"
	}
	if len(name) > maxNameLen {
		return kind + " name " + quote(name) + " is over " + strconv.Itoa(maxNameLen) + " letters", "make it shorter"
	}
	if goodName.MatchString(name) {
		return "", ""
	}
	cure = "use a to z, 0 to 9, - and _, and begin with a letter or digit"
	try := strings.Trim(badRun.ReplaceAllString(strings.ToLower(name), "-"), "-_")
	if goodName.MatchString(try) && !slices.Contains(reserved, try) {
		cure = "write " + try
	}
	return kind + " name " + quote(name) + " can't be used", cure
}
