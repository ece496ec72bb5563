package edge

import (
	"encoding/json"

	"fieldpost/queue"
)

// ledgerEpochs bounds how many past epochs a ledger tells of.
const ledgerEpochs = 16

// ledgerData is the data of a ledger event: the seqs that each ring was given in
// the running epoch, and in those before it as far as they survived. A ring with last
// below first got none.
type ledgerData struct {
	Epoch  string                `json:"epoch"`
	Rings  map[string]ledgerSpan `json:"rings"`
	Before []ledgerData          `json:"before,omitempty"` // newest first
}

type ledgerSpan struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// LedgerEvent tells the first and last seq of each ring in the current epoch, so
// that a receiver can prove what it has: a system event named "ledger", data
// {"epoch","rings":{ring:{"first","last"}},"before":[...]}. before tells the same of the
// epochs before, newest first, at most 16.
func LedgerEvent(s *queue.Store) Event {
	ends := make(map[string]uint64)
	for _, r := range s.Rings() {
		ends[r.Name] = r.Last
	}
	epochs := s.Epochs()
	var told []ledgerData
	for i := len(epochs) - 1; i >= 0 && len(told) <= ledgerEpochs; i-- {
		e := epochs[i]
		d := ledgerData{Epoch: string(appendHex32(nil, e.ID)), Rings: make(map[string]ledgerSpan, len(ends))}
		for ring, last := range ends {
			first, ok := e.Rings[ring]
			switch {
			case !ok && i < len(epochs)-1:
				delete(ends, ring) // it was made in a later epoch
				continue
			case !ok:
				first = 1
			}
			d.Rings[ring] = ledgerSpan{first, last}
			ends[ring] = first - 1
		}
		told = append(told, d)
	}
	ev := Event{Name: "ledger", Kind: System, From: "system:ledger", Data: json.RawMessage("{}")}
	if len(told) == 0 {
		return ev
	}
	told[0].Before = told[1:]
	if data, err := json.Marshal(told[0]); err == nil { // texts and numbers always encode
		ev.Data = data
	}
	return ev
}
