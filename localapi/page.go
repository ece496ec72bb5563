package localapi

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
)

// contentPolicy lets the page load what this agent serves and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed web/index.html web/page.js web/page.css web/icon.svg openapi.yaml
var assets embed.FS

// page is the status page and the API's description.
type page struct{ files map[string]raw }

// pageFiles are what the page consists of, with their media types.
func pageFiles() map[string]string {
	return map[string]string{
		"web/index.html": "text/html; charset=utf-8",
		"web/page.js":    "text/javascript; charset=utf-8",
		"web/page.css":   "text/css; charset=utf-8",
		"web/icon.svg":   "image/svg+xml",
		"openapi.yaml":   "application/yaml",
	}
}

func loadPage() (*page, error) {
	p := &page{files: map[string]raw{}}
	for name, mime := range pageFiles() {
		b, err := fs.ReadFile(assets, name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		sum := sha256.Sum256(b)
		p.files[name] = raw{mime: mime, body: b, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return p, nil
}

func (p *page) file(name string) (any, error) {
	if f, ok := p.files[name]; ok {
		return f, nil
	}
	return nil, notFound("there is no %q", name)
}

func getPage(s *Server, _ *request) (any, error)    { return s.page.file("web/index.html") }
func getOpenAPI(s *Server, _ *request) (any, error) { return s.page.file("openapi.yaml") }

func getAsset(s *Server, r *request) (any, error) {
	return s.page.file("web/" + r.PathValue("file"))
}
