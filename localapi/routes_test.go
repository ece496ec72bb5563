package localapi

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// Every row says what it needs, and a GET changes nothing.
func TestRouteTable(t *testing.T) {
	seen := map[string]bool{}
	for _, rt := range routes() {
		name := rt.method + " " + rt.path
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		if rt.scope < scopeOpen || rt.scope > scopeWhole || rt.handler == nil {
			t.Errorf("%s has no scope or no handler", name)
		}
		if rt.method == "GET" && rt.role > roleRead && rt.path != "/v1/keys" && rt.path != "/v1/claim" && rt.path != "/v1/backup" && rt.path != "/v1/devices/{name}/record" {
			t.Errorf("%s needs %s to read", name, rt.role)
		}
		if rt.method != "GET" && rt.role < roleWrite && rt.path != "/v1/claim" {
			t.Errorf("%s changes something for the role %s", name, rt.role)
		}
		if strings.Contains(rt.path, "{name}") != (rt.scope == scopeDevice) {
			t.Errorf("%s: a device's name and scopeDevice go together", name)
		}
	}
}

// sample fills a route's path in.
func sample(path string) string {
	for from, to := range map[string]string{"{$}": "", "{file}": "page.js", "{ring}": "events", "{seq}": "1", "{mailbox}": "app", "{name}": "lamp", "{command}": "on", "{pin}": "GPIO17", "{uplink}": "cloud", "{id}": "nobody"} {
		path = strings.ReplaceAll(path, from, to)
	}
	return path
}

// Without a key, with too small a role, with a method that is not there: each
// route answers with problem+json, and the status that its row says.
func TestRoutesAreGuarded(t *testing.T) {
	r := newRig(t, nil)
	keys := map[role]string{roleRead: readKey, roleWrite: writeKey, roleAdmin: adminKey}
	check := func(a answer, status int, what string) {
		t.Helper()
		var p struct {
			problem
			Instance string `json:"instance"`
		}
		if a.status != status || a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil || p.Status != status || p.Title == "" || p.Type == "" || p.Instance == "" {
			t.Errorf("%s: got %d %s %s, want %d", what, a.status, a.header.Get("Content-Type"), a.body, status)
		}
	}
	for _, rt := range routes() {
		path, name := sample(rt.path), rt.method+" "+rt.path
		check(r.do("PATCH", path, adminKey, ""), 405, "PATCH "+path)
		if rt.role == roleNone {
			if rt.method != "GET" {
				check(r.do(rt.method, path, "", ""), 409, name+" of an agent that is claimed")
				continue
			}
			r.want(200, rt.method, path, "", "")
			continue
		}
		check(r.do(rt.method, path, "", ""), 401, name+" without a key")
		for has, key := range keys {
			if has < rt.role {
				check(r.do(rt.method, path, key, ""), 403, name+" with role "+has.String())
			}
		}
		if rt.scope == scopeWhole && rt.role <= roleWrite {
			check(r.do(rt.method, path, kitchenKey, ""), 403, name+" with a bounded key")
		}
	}
	a := r.do("DELETE", "/v1/events", adminKey, "")
	if a.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("Allow is %q", a.header.Get("Allow"))
	}
	check(r.do("GET", "/v1/nothing", "", ""), 404, "an unknown path")
	check(r.do("GET", "/assets/nothing", "", ""), 404, "an unknown asset")
}

func TestMetrics(t *testing.T) {
	r := newRig(t, nil)
	r.publish("x", 3)
	body := string(r.want(200, "GET", "/metrics", readKey, "").body)
	for _, want := range []string{
		"fieldpost_build_info{version=\"v0\"", "fieldpost_events_total{source=\"client\"} 3\n", "fieldpost_events_dropped_total{reason=\"full\"} 0\n", "fieldpost_events_dropped_total{reason=\"damage\"} 0\n",
		"fieldpost_uplink_up{uplink=\"cloud\"} 1\n", "fieldpost_queue_events{uplink=\"cloud\"} 3\n", "fieldpost_uplink_acknowledged_total{uplink=\"cloud\"} 7\n",
		"fieldpost_ring_events{ring=\"events\"} 3\n", "fieldpost_storage_free_bytes ", "fieldpost_http_requests_total{method=\"POST\",route=\"/v1/events\",class=\"2xx\"} 1\n", "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	line := regexp.MustCompile(`^[a-z_]+(\{([a-zA-Z_]+="[^"]*",? ?)+\})? \S+$`)
	for _, l := range strings.Split(strings.TrimSpace(body), "\n") {
		if !strings.HasPrefix(l, "#") && !line.MatchString(l) {
			t.Errorf("not a metric: %s", l)
		}
	}
}

func TestReadiness(t *testing.T) {
	r := newRig(t, func(d *Deps, _ *Options) {
		d.Problems = func() []string { return []string{"The config has a warning."} }
	})
	r.want(http.StatusOK, "GET", "/readyz", "", "")
	var s statusAnswer
	r.want(200, "GET", "/v1/status", readKey, "").into(t, &s)
	if s.State != "degraded" || len(s.Problems) != 2 || s.Devices["total"] != 3 || s.Devices["absent"] != 1 || s.You.Name != "reader" || s.You.Role != "read" {
		t.Errorf("got %+v", s)
	}
	r.Rig.Stop()
	if a := r.do("POST", "/v1/events", writeKey, `{"name":"a","data":1}`); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("with the pump stopped: got %d %s", a.status, a.body)
	}
}

// The page loads nothing from elsewhere and has no inline script or style.
func TestPageIsSelfContained(t *testing.T) {
	for name := range pageFiles() {
		b, err := assets.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "http://www.w3.org/2000/svg", "")
		if name != "openapi.yaml" && regexp.MustCompile(`(?i)https?://|url\(|@import|innerHTML|insertAdjacentHTML|document\.write|eval\(`).MatchString(text) {
			t.Errorf("%s: reaches out, or writes HTML", name)
		}
		if strings.HasSuffix(name, ".html") && regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son\w+=`).MatchString(text) {
			t.Errorf("%s: has inline script or style, which its policy forbids", name)
		}
	}
	r := newRig(t, nil)
	a := r.want(200, "GET", "/", "", "")
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(string(a.body), -1) {
		b := r.want(200, "GET", "/"+m[1], "", "")
		r.want(304, "GET", "/"+m[1], "", "", header{"If-None-Match": b.header.Get("ETag")})
	}
}
