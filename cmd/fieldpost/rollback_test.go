package main

import (
	"bytes"
	"slices"
	"testing"
)

// The previous version says that it runs in the place of a new one; a note that an
// older upgrade left behind says nothing of any other.
func TestNotices(t *testing.T) {
	c := newCard(t, "")
	sh := &shell{Root: c.root, Out: &bytes.Buffer{}}
	if got := sh.notices(); got != nil {
		t.Errorf("without a note there is %q", got)
	}
	c.put(rollbackNote, thisBuild().Version+"\nThis is an old one.\n")
	if got := sh.notices(); !slices.Equal(got, []string{"This is an old one."}) {
		t.Errorf("there is %q", got)
	}
	c.put(rollbackNote, "0.0.1\nThis is an old one.\n")
	if got := sh.notices(); got != nil {
		t.Errorf("of another version there is %q", got)
	}
}
