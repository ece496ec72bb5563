package localapi

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
)

// Over TLS the same bounds hold, the peer's address is known, and a WebSocket
// can be opened although the client would speak HTTP/2.
func TestTLS(t *testing.T) {
	made := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer made.Close()
	r := newRig(t, func(_ *Deps, o *Options) { o.TLS = &tls.Config{Certificates: made.TLS.Certificates} })
	tr := made.Client().Transport.(*http.Transport).Clone()
	tr.ForceAttemptHTTP2 = true
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	a, err := r.try(c, "https://"+r.addr, "GET", "/v1/status", readKey, "")
	if err != nil || a.status != 200 {
		t.Fatalf("got %d %v", a.status, err)
	}
	ws, _, err := websocket.Dial(t.Context(), "wss://"+r.addr+"/v1/ws", &websocket.DialOptions{HTTPClient: c, HTTPHeader: http.Header{"X-Api-Key": {readKey}}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	eventually(t, "the client is listed with its address", func() bool {
		list := r.server.clients.list()
		return len(list) == 1 && list[0].Address == "127.0.0.1"
	})
	if a, err := r.try(r.overSocket(), "http://fieldpost", "GET", "/v1/keys", "", ""); err != nil || a.status != 200 {
		t.Errorf("the socket got %d %v: it has no TLS", a.status, err)
	}
}
