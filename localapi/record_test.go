package localapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
)

// TestRecordRoute: admins alone record, for a bounded time; one that can't begin is a
// problem, and one that breaks off is no whole answer.
func TestRecordRoute(t *testing.T) {
	var lasts time.Duration
	var before, after error
	r := newRig(t, func(d *Deps, _ *Options) {
		d.Record = func(ctx context.Context, device string, write func([]byte) error) error {
			end, _ := ctx.Deadline()
			lasts = time.Until(end)
			if before != nil {
				return before
			}
			if err := write(fmt.Appendf(nil, "{\"device\":%q}\n", device)); err != nil {
				return err
			}
			return errors.Join(write([]byte("{}\n")), after)
		}
	})
	path := "/v1/devices/lamp/record"
	r.want(403, "GET", path, writeKey, "")
	r.want(404, "GET", "/v1/devices/nobody/record", adminKey, "")
	for _, bad := range []string{"for=soon", "for=0s", "for=25h", "until=1h"} {
		r.want(400, "GET", path+"?"+bad, adminKey, "")
	}
	a := r.want(200, "GET", path, adminKey, "")
	if string(a.body) != "{\"device\":\"lamp\"}\n{}\n" || !strings.Contains(a.header.Get("Content-Type"), "ndjson") || lasts > recordFor || lasts < recordFor/2 {
		t.Errorf("%q of %s, for %v", a.body, a.header.Get("Content-Type"), lasts)
	}
	before = fmt.Errorf("%w: it is being recorded", edge.ErrRefused)
	r.want(409, "GET", path, adminKey, "")
	before, after = nil, errors.New("the line is gone")
	if _, err := r.try(r.client, "http://"+r.addr, "GET", path, adminKey, ""); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a part was given for the whole: %v", err)
	}
}
