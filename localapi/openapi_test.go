package localapi

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"fieldpost/edge"
)

func loadOpenAPI(t testing.TB) *openapi3.T {
	t.Helper()
	b, err := assets.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// inDocument is a route's path as OpenAPI has it.
func inDocument(path string) string { return strings.ReplaceAll(path, "{$}", "") }

// Each route is in the document, with security where it needs a key, and each
// operation of the document is a route.
func TestRoutesAreInTheDocument(t *testing.T) {
	doc := loadOpenAPI(t)
	rows := map[string]bool{}
	for _, rt := range routes() {
		name := rt.method + " " + inDocument(rt.path)
		rows[name] = true
		item := doc.Paths.Value(inDocument(rt.path))
		if item == nil || item.GetOperation(rt.method) == nil {
			t.Errorf("%s is not in openapi.yaml", name)
			continue
		}
		op := item.GetOperation(rt.method)
		open := op.Security != nil && len(*op.Security) == 0
		if open != (rt.role == roleNone) {
			t.Errorf("%s: openapi.yaml says open %v, the row says role %s", name, open, rt.role)
		}
		if op.OperationID == "" || op.Summary == "" || len(op.Tags) != 1 {
			t.Errorf("%s: wants an operationId, a summary and a tag", name)
		}
		params := map[string]bool{}
		for _, p := range append(item.Parameters, op.Parameters...) {
			params[p.Value.Name] = p.Value.In == "path" || params[p.Value.Name]
		}
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(rt.path, -1) {
			if !params[m[1]] {
				t.Errorf("%s: openapi.yaml does not describe {%s}", name, m[1])
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !rows[method+" "+path] {
				t.Errorf("%s %s is in openapi.yaml alone", method, path)
			}
		}
	}
}

// Real answers fit the document's schemas.
func TestAnswersFitTheDocument(t *testing.T) {
	doc := loadOpenAPI(t)
	r := newRig(t, func(d *Deps, o *Options) {
		o.Demo = true
		d.Cut = (&fakeWorld{}).Cut
		d.Backup = func() (Backup, error) {
			return func(w io.Writer) error { _, err := w.Write([]byte("all of it")); return err }, nil
		}
		d.Wear = func() edge.WearStatus { return edge.WearStatus{Device: "vda", Budget: 1, Projected: 2} }
	})
	r.stream(readKey, "?name=door")
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/events", `{"name":"door","data":{"value":true}}`},
		{"GET", "/v1/events", ""},
		{"GET", "/v1/events/{ring}/{seq}", ""}, {"GET", "/v1/events/{ring}/{seq}/uplinks", ""},
		{"GET", "/v1/status", ""}, {"GET", "/healthz", ""}, {"GET", "/readyz", ""}, {"GET", "/metrics", ""}, {"GET", "/openapi.yaml", ""}, {"GET", "/", ""}, {"GET", "/assets/{file}", ""},
		{"GET", "/v1/devices", ""}, {"GET", "/v1/devices/{name}", ""}, {"POST", "/v1/devices/{name}/{command}", `{"id":"x"}`},
		{"POST", "/v1/devices/{name}/report", `{"value":40}`}, {"POST", "/v1/devices/{name}/report", `{}`},
		{"POST", "/v1/commands/{id}", `{"why":"broken"}`}, {"POST", "/v1/commands/{id}", ""},
		{"GET", "/v1/pins", ""}, {"POST", "/v1/pins/{pin}/drive", `{"level":false}`},
		{"GET", "/v1/uplinks", ""}, {"POST", "/v1/uplinks/{uplink}/test", ""}, {"POST", "/v1/uplinks/{uplink}/cut", `{"cut":true}`},
		{"GET", "/v1/rings", ""}, {"GET", "/v1/claim", ""}, {"POST", "/v1/claim", `{"code":"1234-5678"}`},
		{"GET", "/v1/keys", ""}, {"POST", "/v1/keys", `{"name":"new","role":"read"}`}, {"DELETE", "/v1/keys/{id}", ""},
		{"PUT", "/v1/mailboxes/{mailbox}", `{"keep":3,"names":["door"]}`}, {"PUT", "/v1/mailboxes/{mailbox}", `{"keep":3}`}, {"GET", "/v1/mailboxes", ""}, {"GET", "/v1/mailboxes/{mailbox}", ""},
		{"POST", "/v1/mailboxes/{mailbox}/ack", `{"after":"1"}`}, {"DELETE", "/v1/mailboxes/{mailbox}", ""}, {"GET", "/v1/mailboxes/{mailbox}", ""},
		{"GET", "/v1/clients", ""}, {"GET", "/v1/backup", ""}, {"GET", "/v1/ws", ""}, {"POST", "/v1/events", `{"name":1}`}, {"DELETE", "/v1/rings/{ring}", ""}, {"PUT", "/v1/mailboxes/{mailbox}", `{"keep":-1}`},
	} {
		a := r.do(c.method, sample(c.path), adminKey, c.body)
		op := doc.Paths.Value(c.path).GetOperation(c.method)
		want := op.Responses.Status(a.status)
		if want == nil {
			if want = op.Responses.Default(); want == nil || a.status < 400 {
				t.Errorf("%s %s: status %d is not in openapi.yaml", c.method, c.path, a.status)
				continue
			}
		}
		checkBody(t, c.method+" "+c.path, want.Value, a)
	}
}

func checkBody(t *testing.T, name string, want *openapi3.Response, a answer) {
	t.Helper()
	if len(want.Content) == 0 {
		if len(a.body) > 0 {
			t.Errorf("%s: openapi.yaml has no body for %d, and there is %s", name, a.status, a.body)
		}
		return
	}
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	media := want.Content[kind]
	if media == nil {
		t.Errorf("%s: %s is not in openapi.yaml for %d", name, kind, a.status)
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	var v any
	if err := json.NewDecoder(bytes.NewReader(a.body)).Decode(&v); err != nil {
		t.Errorf("%s: %v in %s", name, err, a.body)
		return
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
		t.Errorf("%s: %v\n%s", name, err, a.body)
	}
}
