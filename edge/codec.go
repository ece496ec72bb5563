package edge

import "errors"

// AppendPayload appends the event's binary form.
func AppendPayload(dst []byte, e *Event) ([]byte, error) { return dst, errors.New("encode event: not built") }

// DecodePayload reads it back.
func DecodePayload(b []byte, e *Event) error { return errors.New("decode event: not built") }
