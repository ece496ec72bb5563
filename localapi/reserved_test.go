package localapi

import "testing"

// Into a ring that holds what was summed up of another only a forwarder brings
// anything: the rows of its own agent.
func TestRowsAreWrittenByTheAgent(t *testing.T) {
	r := newRig(t, func(_ *Deps, o *Options) { o.Reserved = func(ring string) bool { return ring == "samples-1m" } })
	const origin = `,"origin":{"agent":"b","id":"7f3a9c21-1","ring":"samples-1m","seq":1,"time":"2026-11-21T01:32:15Z"}`
	for _, c := range []struct {
		name, key, body string
		status          int
	}{
		{"a client", writeKey, `{"name":"a","data":1,"kind":"sample","ring":"samples-1m"}`, 403},
		{"an admin", adminKey, `{"name":"a","data":1,"kind":"sample","ring":"samples-1m"}`, 403},
		{"another ring", writeKey, `{"name":"a","data":1,"kind":"sample","ring":"samples-2m"}`, 201},
		{"after a fine one", writeKey, `[{"name":"a","data":1,"ring":"samples-2m"},{"name":"a","data":1,"ring":"samples-1m"}]`, 403},
		{"a forwarder", forwardKey, `{"name":"a","data":1,"kind":"sample","ring":"samples-1m"` + origin + `}`, 201},
	} {
		if a := r.do("POST", "/v1/events", c.key, c.body, nil); a.status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.status, a.body)
		}
	}
}
