package main

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const (
	verifyOne    = `{"id":"0000000a-1","n":1,"ring":"events","seq":1,"agent":"g","name":"a","kind":"message","time":"2026-11-21T01:00:00Z","clock":"synced","boot":"b","mono":1,"from":"client:x","data":1}`
	verifyThree  = `{"id":"0000000a-3","n":3,"ring":"events","seq":3,"agent":"g","name":"a","kind":"message","time":"2026-11-21T01:00:00Z","clock":"synced","boot":"b","mono":3,"from":"client:x","data":3}`
	verifyGap    = `{"id":"0000000a-events-2..2","ring":"events","seq":2,"agent":"g","name":"gap","kind":"gap","data":{"from":2,"to":2,"count":1,"cause":"evicted"}}`
	verifyLedger = `{"id":"0000000a-4","n":4,"ring":"events","seq":4,"agent":"g","name":"ledger","kind":"system","time":"2026-11-21T01:00:00Z","clock":"synced","boot":"b","mono":4,"from":"system:ledger","data":{"epoch":"0000000a","rings":{"events":{"first":1,"last":3}}}}`
)

// TestVerifyFiles: what is whole, and what is not, and what can't be read.
func TestVerifyFiles(t *testing.T) {
	s := newSandbox(t, "")
	s.write("whole", verifyOne+"\n"+verifyGap+"\n\n["+verifyThree+","+verifyLedger+"]\n")
	s.run("verify", "whole").want(t, 0, "1..4", "closed: every event")
	s.write("half", verifyOne+"\n"+verifyThree+"\n"+verifyThree+"\n"+verifyLedger)
	s.run("verify", "half").want(t, 1, "missing of g 0000000a events: 2", "1 missing, 1 duplicates, 0 conflicts: not closed")
	s.write("rest", verifyGap)
	s.run("verify", "half", "rest").want(t, 0, "closed: every event")
	s.write("open", verifyOne)
	s.run("verify", "open").want(t, 1, "not closed")
	s.write("torn", verifyOne+"\n"+verifyThree[:40]+"\n"+verifyLedger)
	s.run("verify", "torn").want(t, 1, "torn:2:", "1 lines can't be read", "2 events")
	s.run("verify", "nothing").want(t, 1, "nothing")
	s.pipe(verifyOne+"\n"+verifyGap+"\n"+verifyThree+"\n"+verifyLedger, "verify", "-").want(t, 0)
	s.run("verify", "half", "-o", "json").want(t, 1, `"missing": 1`, `"from": 2`)
}

// TestVerifyFinds: each thing that can be wrong is found and named; what only
// looks wrong is not.
func TestVerifyFinds(t *testing.T) {
	other := strings.NewReplacer(`"g"`, `"h"`)
	second := strings.NewReplacer("0000000a-1", "0000000b-5", `"seq":1,`, `"seq":5,`, `"n":1,`, `"n":5,`)
	told := strings.Replace(verifyLedger, `{"epoch":"0000000a","rings":{"events":{"first":1,"last":3}}}`,
		`{"epoch":"0000000b","rings":{"events":{"first":5,"last":5}},"before":[{"epoch":"0000000a","rings":{"events":{"first":1,"last":4}}}]}`, 1)
	told = strings.NewReplacer(`"0000000a-4","n":4`, `"0000000b-6","n":6`, `"seq":4`, `"seq":6`).Replace(told)
	whole := []string{verifyOne, verifyGap, verifyThree, verifyLedger}
	for name, c := range map[string]struct {
		files [][]string
		code  int
		words []string
	}{
		"whole":                     {[][]string{whole}, 0, []string{"0 missing"}},
		"in another order":          {[][]string{{verifyLedger, verifyThree, verifyOne, verifyGap}}, 0, nil},
		"files that overlap":        {[][]string{whole[:3], whole[1:]}, 0, []string{"1 duplicates"}},
		"an event wins over a gap":  {[][]string{{verifyOne, verifyThree, verifyLedger, strings.ReplaceAll(verifyGap, "2", "3"), verifyGap}}, 0, []string{"0 missing"}},
		"two agents in one file":    {[][]string{{verifyOne, other.Replace(verifyOne), other.Replace(verifyGap), verifyGap, verifyThree, other.Replace(verifyThree), verifyLedger, other.Replace(verifyLedger)}}, 0, []string{"g ", "h "}},
		"one agent of two is short": {[][]string{whole, {other.Replace(verifyOne), other.Replace(verifyThree), other.Replace(verifyLedger)}}, 1, []string{"missing of h 0000000a events: 2"}},
		"two epochs":                {[][]string{{verifyOne, verifyGap, verifyThree, verifyLedger}, {second.Replace(verifyOne), told}}, 0, []string{"0000000b"}},
		"an epoch's end is missing": {[][]string{{verifyOne, verifyGap, second.Replace(verifyOne), told}}, 1, []string{"missing of g 0000000a events: 3..4"}},
		"an epoch without a ledger": {[][]string{whole, {second.Replace(verifyOne)}}, 1, []string{"no ledger tells the end of g 0000000b events"}},
		"a seq is missing":          {[][]string{{verifyOne, verifyThree, verifyLedger}}, 1, []string{"events: 2", "1 missing"}},
		"a content changed":         {[][]string{whole, {strings.Replace(verifyThree, `"data":3`, `"data":4`, 1)}}, 1, []string{"1 conflicts", "0000000a-3"}},
		"one number, two ids":       {[][]string{whole, {strings.Replace(strings.Replace(verifyThree, `a-3"`, `a-9"`, 1), `"n":3`, `"n":9`, 1)}}, 1, []string{"1 conflicts", "0000000a-9"}},
		"only the time changed":     {[][]string{whole, {strings.Replace(verifyThree, "01:00:00", "02:00:00", 1)}}, 0, []string{"1 duplicates"}},
		"arrays":                    {[][]string{{"[" + strings.Join(whole, " , ") + "]"}}, 0, nil},
		"the last line is cut off":  {[][]string{append(whole[:4:4], verifyThree[:90])}, 0, []string{"the last line is cut off", "closed: every event"}},
		"and it is missed":          {[][]string{{verifyOne, verifyGap, verifyLedger, verifyThree[:90]}}, 1, []string{"the last line is cut off", "missing of g 0000000a events: 3"}},
		"what came behind it":       {[][]string{{verifyOne, verifyGap, verifyThree[:90] + verifyThree, verifyLedger}}, 0, []string{"stands before an event"}},
		"a line in the middle":      {[][]string{{verifyOne, verifyGap, verifyThree[:90], verifyThree, verifyLedger}}, 1, []string{"1 lines can't be read"}},
	} {
		s := newSandbox(t, "")
		args := []string{"verify"}
		for i, lines := range c.files {
			file := string(rune('a' + i))
			s.write(file, strings.Join(lines, "\n"))
			args = append(args, file)
		}
		t.Run(name, func(t *testing.T) { s.run(args...).want(t, c.code, c.words...) })
	}
}

// TestVerifyPacked: files that were rotated and packed, also one whose end is cut
// off, and one ring of several.
func TestVerifyPacked(t *testing.T) {
	s := newSandbox(t, "")
	text := verifyOne + "\n" + verifyGap + "\n" + verifyThree + "\n" + verifyLedger + "\n"
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	if _, err := g.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s.write("a.gz", gz.String())
	s.write("a.zst", zst.String())
	s.write("cut.gz", gz.String()[:gz.Len()-20])
	s.write("plain", text)
	s.run("verify", "a.gz").want(t, 0, "closed: every event")
	s.run("verify", "a.zst", "a.gz").want(t, 0, "3 duplicates", "closed: every event")
	s.run("verify", "cut.gz", "plain").want(t, 0, "the file ends here", "closed: every event")
	s.write("rings", strings.Replace(text, `"rings":{`, `"rings":{"samples":{"first":1,"last":5},`, 1))
	s.run("verify", "rings").want(t, 1, "missing of g 0000000a samples: 1..5")
	s.run("verify", "--ring", "events", "rings").want(t, 0, "closed: every event")
}
