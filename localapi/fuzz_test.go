package localapi

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"fieldpost/edge"
)

// Where the JSON is valid, what scanObject and scanArray find is what
// encoding/json finds; where it is not, they end without a panic.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"op":"publish","ref":1,"name":"a","data":{"x":[1,"}"]}}`, `[{"a":"\\\""},2 , null]`, ` { } `, `[`, `{"a"`, `{"a":}`, `[1,]`, `{"a":1}x`, `"`, `{"\u0061":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var list []json.RawMessage
		err := scanArray(b, func(_ int, v []byte) error { list = append(list, v); return nil })
		if err == nil && len(list) > 0 && len(bytes.Join([][]byte{list[0]}, nil)) == 0 {
			t.Error("an empty element")
		}
		var members []byte
		errObject := scanObject(b, func(key, value, member []byte) error {
			if len(value) == 0 || !bytes.HasPrefix(member, []byte(`"`+string(key)+`"`)) || !bytes.HasSuffix(member, value) {
				t.Errorf("member %q of key %q and value %q", member, key, value)
			}
			members = append(append(members, member...), ',')
			return nil
		})
		if !json.Valid(b) {
			return
		}
		var want []json.RawMessage
		if b = bytes.TrimSpace(b); b[0] == '[' {
			if json.Unmarshal(b, &want) != nil || err != nil || len(want) != len(list) {
				t.Fatalf("got %d elements and %v, want %d", len(list), err, len(want))
			}
			for i := range want {
				if !bytes.Equal(want[i], list[i]) {
					t.Errorf("element %d is %s, want %s", i, list[i], want[i])
				}
			}
		}
		if b[0] == '{' {
			if errObject != nil || !json.Valid([]byte("{"+string(bytes.TrimSuffix(members, []byte(",")))+"}")) {
				t.Errorf("members %s: %v", members, errObject)
			}
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{`{"op":"subscribe","ref":"x","names":["a"],"after":"7f3a9c21.7"}`, `{"op":"publish","name":"a","data":1}`, `{"op":"publish","events":[{"name":"a","data":1}]}`, `{"op":"command","device":"d","command":"on","value":1}`} {
		f.Add([]byte(s))
	}
	who := principal{name: "f", role: roleWrite}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMessage(b)
		if err != nil {
			return
		}
		if m.ref != nil && !json.Valid(appendFailure(nil, m.ref, badRequest("x"))) {
			t.Errorf("the answer to ref %s is not JSON", m.ref)
		}
		var in subscription
		if decodeStrict(m.rest, &in) == nil {
			if _, err := in.query(who, func(edge.Query) edge.Position { return edge.Position{} }); err != nil && asProblem(err).Status == 500 {
				t.Errorf("a client's mistake is an internal error: %v", err)
			}
		}
		lim := defaultLimits()
		p := (&Server{lim: lim}).publisher(who)
		evs, err := p.message(bytes.ReplaceAll(m.rest, []byte(`"ring"`), []byte(`"rinh"`)))
		for i := range evs {
			if err == nil && (evs[i].Validate() != nil || evs[i].From != "client:f") {
				t.Errorf("took %+v", evs[i])
			}
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("ring=alarms&after=7f3a9c21.5&limit=10&order=desc&name=a*&kind=sample&since=2026-11-21T01:32:15Z")
	f.Fuzz(func(t *testing.T, raw string) {
		v, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, err := eventsQuery(v, principal{role: roleRead})
		if err != nil {
			if s := asProblem(err).Status; s >= 500 {
				t.Errorf("a client's mistake is %d: %v", s, err)
			}
			return
		}
		if q.Limit < 1 || q.Limit > maxLimit || q.BySeq && (len(q.Rings) != 1 || edge.Guarded(q.Rings[0])) {
			t.Errorf("took %+v", q)
		}
	})
}

// A claim's file that says anything at all makes a code or an error, and what a
// person types is 8 digits or none.
func FuzzClaim(f *testing.F) {
	for _, s := range []string{"4821-7735 00\n", "4821-7735 10\n", "4821-7735 99\n", "48217735", "", " - 1", "4821-7735 -1\n", "\u0664\u0668\u0662\u0661"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if code, ok := claimCode(string(b)); ok && (len(code) != claimDigits || strings.Trim(code, "0123456789") != "") {
			t.Errorf("%q is a code", code)
		}
		var c claim
		if err := c.parse(b); (err == nil) != (len(c.code) == claimDigits) || c.wrong < 0 || c.wrong > claimTries {
			t.Errorf("%q: code %q, %d tries, %v", b, c.code, c.wrong, err)
		}
	})
}
