package localapi

import (
	"encoding/json"
	"strconv"
	"time"

	"fieldpost/edge"
)

// maxRef is the most bytes of a message's ref.
const maxRef = 256

// message is what a socket's client sends: an op, a ref that the answer repeats,
// and the rest, which depends on the op.
type message struct {
	op   string
	ref  []byte // JSON; nil where there is none
	rest []byte // the object without op and ref
}

// readMessage takes op and ref off a message. The rest is as the client wrote
// it, valid or not. Where the message can't be read, its ref may still be known.
func readMessage(b []byte) (m message, err error) {
	rest := make([]byte, 1, len(b)+1)
	rest[0] = '{'
	err = scanObject(b, func(key, value, member []byte) error {
		switch string(key) {
		case "op":
			switch string(value) { // the common ones cost no allocation
			case `"publish"`:
				m.op = "publish"
				return nil
			}
			if len(value) > maxRef || json.Unmarshal(value, &m.op) != nil {
				return badRequest("op: want a text")
			}
		case "ref":
			if len(value) > maxRef || !scalar(value) {
				return badRequest("ref: want a text or a number of at most %d bytes", maxRef)
			}
			m.ref = value
		default:
			if len(rest) > 1 {
				rest = append(rest, ',')
			}
			rest = append(rest, member...)
		}
		return nil
	})
	m.rest = append(rest, '}')
	return m, err
}

// subscription is the rest of a subscribe message.
type subscription struct {
	Names []string `json:"names"`
	Rings []string `json:"rings"`
	Kinds []string `json:"kinds"`
	After *string  `json:"after"`
}

// query checks a subscription. Without a position it begins at now.
func (in *subscription) query(who principal, now func(edge.Query) edge.Position) (q edge.Query, err error) {
	if err := checkPatterns("#/names", in.Names); err != nil {
		return q, err
	}
	if len(in.Rings) > maxPatterns {
		return q, badRequest("rings: at most %d", maxPatterns)
	}
	for _, ring := range in.Rings {
		if err := checkRing(ring, who); err != nil {
			return q, err
		}
	}
	q = edge.Query{Rings: orNil(in.Rings), Names: orNil(in.Names), Scope: who.names}
	if q.Kinds, err = kindsOf(in.Kinds); err != nil {
		return q, err
	}
	if in.After == nil || *in.After == "" {
		q.After = now(q)
		return q, nil
	}
	if q.After, err = edge.ParsePosition(*in.After); err != nil {
		return q, badRequest("after: %v", err)
	}
	return q, nil
}

// orNil makes an empty list none: all are meant.
func orNil(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

// commandMessage is the rest of a command message.
type commandMessage struct {
	Device  string `json:"device"`
	Command string `json:"command"`
	commandBody
}

// commandBody is what a command may carry.
type commandBody struct {
	ID      string          `json:"id"`
	Value   json.RawMessage `json:"value"`
	If      json.RawMessage `json:"if"`
	Expires *time.Time      `json:"expires"`
}

// confirmBody is what the client that plays a device says of a command.
type confirmBody struct {
	Value json.RawMessage `json:"value"`
	Why   string          `json:"why"`
}

// confirmMessage is the rest of a confirm message.
type confirmMessage struct {
	ID string `json:"id"`
	confirmBody
}

func appendOp(dst []byte, op string, ref []byte) []byte {
	dst = append(append(append(dst, `{"op":"`...), op...), '"')
	if ref != nil {
		dst = append(append(dst, `,"ref":`...), ref...)
	}
	return dst
}

func appendFailure(dst, ref []byte, p *problem) []byte {
	dst = appendOp(dst, "error", ref)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(p.Status), 10)
	dst = appendText(append(dst, `,"title":`...), p.Title)
	dst = appendText(append(dst, `,"detail":`...), p.Detail)
	if p.retry > 0 {
		dst = strconv.AppendInt(append(dst, `,"retry_after":`...), int64((p.retry+time.Second-1)/time.Second), 10)
	}
	return append(dst, '}')
}

func appendText(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return append(dst, `""`...)
	}
	return append(dst, b...)
}
