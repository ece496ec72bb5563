package gpio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// maxPointer bounds the steps of a path: each reads the document once.
const maxPointer = 32

// jsonPointer is a way into a JSON document: the keys and indexes to follow.
type jsonPointer []string

// parsePointer reads a path: a JSON pointer (RFC 6901) like /main/temp, or keys between
// dots like main.temp, which is the same. "" is the whole document.
func parsePointer(path string) (jsonPointer, error) {
	if path == "" {
		return nil, nil
	}
	var p jsonPointer
	if rest, ok := strings.CutPrefix(path, "/"); ok {
		for step := range strings.SplitSeq(rest, "/") {
			for i := range len(step) {
				if step[i] == '~' && (i+1 == len(step) || step[i+1] != '0' && step[i+1] != '1') {
					return nil, fmt.Errorf("path %q: a ~ is written ~0, and a / in a key ~1", path)
				}
			}
			p = append(p, strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~"))
		}
	} else {
		p = strings.Split(path, ".")
	}
	if len(p) > maxPointer {
		return nil, fmt.Errorf("path %q has %d steps: %d are possible", path, len(p), maxPointer)
	}
	return p, nil
}

// String is the path as a JSON pointer.
func (p jsonPointer) String() string {
	var b strings.Builder
	for _, step := range p {
		b.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(step, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// find gives the value at the end of the way. It makes no tree of the document, so a
// large one costs little memory.
func (p jsonPointer) find(doc []byte) (json.RawMessage, error) {
	if !json.Valid(doc) {
		return nil, fmt.Errorf("it is no JSON: %.60q", doc)
	}
	at := json.RawMessage(bytes.TrimSpace(doc))
	for i, step := range p {
		next, err := member(at, step)
		if err != nil {
			return nil, fmt.Errorf("look for %s: %s", p[:i+1], err)
		}
		at = next
	}
	return at, nil
}

// member is one step: a key of an object, or an index of an array (RFC 6901, 4: no
// leading zeros, and "-" is the one after the last, which never is there).
func member(at json.RawMessage, step string) (json.RawMessage, error) {
	switch {
	case at[0] == '{':
		var object map[string]json.RawMessage
		if err := json.Unmarshal(at, &object); err != nil {
			return nil, err
		}
		next, ok := object[step]
		if !ok {
			return nil, fmt.Errorf("there is no key %.60q", step)
		}
		return next, nil
	case at[0] == '[':
		var array []json.RawMessage
		if err := json.Unmarshal(at, &array); err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(step, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != step || n >= uint64(len(array)) {
			return nil, fmt.Errorf("an array of %d has no %.60q", len(array), step)
		}
		return array[n], nil
	}
	return nil, fmt.Errorf("%.60s has nothing below it", at)
}
