package main

import "testing"

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
	s.write("torn", verifyOne+"\n"+verifyThree[:40])
	s.run("verify", "torn").want(t, 1, "torn:2:", "1 lines can't be read", "1 events")
	s.run("verify", "nothing").want(t, 1, "nothing")
	s.pipe(verifyOne+"\n"+verifyGap+"\n"+verifyThree+"\n"+verifyLedger, "verify", "-").want(t, 0)
	s.run("verify", "half", "-o", "json").want(t, 1, `"missing": 1`, `"from": 2`)
}
