package localapi

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestBackupRoute: admins alone get one, one at a time; one that fails once it has
// begun is no answer, and one that can't begin is a problem.
func TestBackupRoute(t *testing.T) {
	var refuse, fail error
	var hold chan struct{}
	r := newRig(t, func(d *Deps, _ *Options) {
		d.Backup = func() (Backup, error) {
			if refuse != nil {
				return nil, refuse
			}
			return func(w io.Writer) error {
				if _, err := w.Write([]byte(strings.Repeat("x", 100_000))); err != nil {
					return err
				}
				if hold != nil {
					<-hold
				}
				return fail
			}, nil
		}
	})
	r.want(403, "GET", "/v1/backup", writeKey, "")
	if a := r.want(200, "GET", "/v1/backup", adminKey, ""); len(a.body) != 100_000 || a.header.Get("Content-Type") != "application/zstd" {
		t.Errorf("%d bytes of %s", len(a.body), a.header.Get("Content-Type"))
	}
	fail = errors.New("the disk is gone")
	if _, err := r.try(r.client, "http://"+r.addr, "GET", "/v1/backup", adminKey, ""); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a part was given for the whole: %v", err)
	}
	fail, refuse = nil, errors.New("it can't be moved")
	r.want(500, "GET", "/v1/backup", adminKey, "")
	refuse, hold = nil, make(chan struct{})
	req, err := http.NewRequest("GET", "http://"+r.addr+"/v1/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r.want(503, "GET", "/v1/backup", adminKey, "")
	close(hold)
	if b, err := io.ReadAll(res.Body); err != nil || len(b) != 100_000 {
		t.Errorf("%d bytes: %v", len(b), err)
	}
	eventually(t, "the next one is let in", func() bool { return r.do("GET", "/v1/backup", adminKey, "").status == 200 })
}
