package gpio

import (
	"net/http"
	"testing"
)

// TestHTTPGetNoProxy: the environment's proxy is not asked. net/http reads that once a
// process, so it is the client that is looked at.
func TestHTTPGetNoProxy(t *testing.T) {
	if tr := (&httpGet{}).client().Transport.(*http.Transport); tr.Proxy != nil {
		t.Error("the client has a proxy")
	}
}
