package gpio

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzLineSplitter: however the bytes come in, the lines are those of the whole, none
// is over the bound and nothing more is kept.
func FuzzLineSplitter(f *testing.F) {
	f.Add([]byte("a\r\nb\n\rc"), 1)
	f.Add([]byte(strings.Repeat("x", maxLine+1)+"\nok\n"), 100)
	f.Add([]byte(strings.Repeat("x", maxLine)+"\r"), maxLine)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step < 1 {
			step = 1
		}
		var want, got []string
		long := uint64(0)
		parts := bytes.FieldsFunc(in, func(r rune) bool { return r == '\r' || r == '\n' })
		ended := len(in) > 0 && (in[len(in)-1] == '\n' || in[len(in)-1] == '\r')
		for i, p := range parts {
			switch {
			case len(p) > maxLine:
				long++
			case i < len(parts)-1 || ended:
				want = append(want, string(p))
			}
		}
		var s lineSplitter
		for b := in; len(b) > 0; {
			n := min(step, len(b))
			s.feed(b[:n], func(line []byte) { got = append(got, string(line)) })
			b = b[n:]
			if len(s.line) > maxLine {
				t.Fatalf("%d bytes are kept", len(s.line))
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") || len(got) != len(want) || s.long != long {
			t.Errorf("got %q and %d, want %q and %d", got, s.long, want, long)
		}
	})
}
