package gpio

import (
	"encoding/json"
	"errors"
	"fmt"
)

// reading is the reading that was recorded.
func (t *TraceReading) reading() (reading, error) {
	r := reading{mono: t.Mono, other: t.Other, why: t.Why, doubt: t.Doubt}
	if t.Value != nil {
		r.value = *t.Value
	}
	for _, raw := range t.More {
		var one map[string]json.RawMessage
		if err := json.Unmarshal(raw, &one); err != nil {
			return r, fmt.Errorf("replay a reading: %w", err)
		}
		for key, value := range one {
			r.more = append(r.more, Field{key, value})
		}
	}
	if t.Error != "" {
		return r, errors.New(t.Error)
	}
	return r, nil
}
