package gpio

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"fieldpost/edge"
	"fieldpost/edge/dial"
)

// HTTPGet is the config of an http_get: a value that a web server gives.
type HTTPGet struct {
	URL        string                 `mapstructure:"http_get"`
	Path       string                 `mapstructure:"path"`  // into a JSON answer
	Match      string                 `mapstructure:"match"` // a regular expression (Go's RE2) over a text
	Headers    map[string]edge.Secret `mapstructure:"headers"`
	User       string                 `mapstructure:"user"`
	Password   edge.Secret            `mapstructure:"password"`
	TLS        dial.TLS               `mapstructure:"tls"`
	OtherHosts bool                   `mapstructure:"other_hosts"` // redirects may lead to them
	Unit       string                 `mapstructure:"unit"`
	Timeout    edge.Duration          `mapstructure:"timeout"` // of all of it, redirects included
	Sampling   `mapstructure:",squash"`
}

// The bounds of an answer.
const (
	maxBody      = 256 << 10
	maxHTTPHead  = 64 << 10
	maxText      = 4096 // of a value
	maxRedirects = 5
	maxLater     = time.Hour // of what Retry-After asks for
)

func httpGetDriver() Driver {
	return Driver{
		Name: "http_get",
		Doc: "A value that a web server gives, asked for each so often: a weather service, a meter or a plug with a web page. " +
			"path finds it in a JSON answer: main.temp or, as a JSON pointer, /main/temp. match finds it in a text, or in the text that path found: a regular expression whose group (?P<value>...), else its first group, else all that matched is the value. With neither it is the whole answer. " +
			"A number is a reading, with accept and report as all sensors have; true, false and texts are told when they change. " +
			"headers, password and what is below tls can be secrets: file:PATH, env:NAME or cred:NAME. A redirect is followed on the same host only, unless other_hosts is true, and never takes headers or password to another one. " +
			"An answer has 256 kB at most and comes within timeout, 10s unless said; a status other than 2xx is a failure, after which Retry-After is kept. Each request is a connection of its own, and no proxy is used.",
		Example: `weather: {http_get: "http://10.0.0.7/json", path: main.temp, every: 60s, timeout: 10s, headers: {Accept: application/json}, unit: °C, accept: {min: -60, max: 60}, report: {delta: 0.1, heartbeat: 15m}}`,
		Config: func() any {
			return &HTTPGet{Timeout: edge.Duration(10 * time.Second), Sampling: sampling(edge.Duration(time.Minute))}
		},
		New: newHTTPGet,
	}
}

// httpGet is the device.
type httpGet struct {
	env   Env
	cfg   HTTPGet
	url   *url.URL
	path  jsonPointer
	match *regexp.Regexp
	group int
	later time.Time // the server wants to be left alone until then
}

var _ Device = (*httpGet)(nil)

func newHTTPGet(env Env, v any) (Device, error) {
	cfg, err := options[HTTPGet](v)
	if err != nil {
		return nil, err
	}
	d := &httpGet{env: env, cfg: *cfg}
	if d.url, err = url.Parse(cfg.URL); err != nil {
		return nil, errors.New("http_get is no URL") // its text may have a secret in it
	}
	switch {
	case d.url.Scheme != "http" && d.url.Scheme != "https" || d.url.Hostname() == "":
		return nil, errors.New("http_get is no URL of a web page: write http://HOST/PATH or https://HOST/PATH")
	case d.url.User != nil:
		return nil, errors.New("http_get has a login in it: write user and password as keys of their own")
	case cfg.Timeout <= 0:
		return nil, fmt.Errorf("timeout is %s: it must be more than 0", cfg.Timeout)
	}
	for name := range cfg.Headers {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(headerRunes, r) }) {
			return nil, fmt.Errorf("headers has %q, which is no name of a header", name)
		}
	}
	if d.path, err = parsePointer(cfg.Path); err != nil {
		return nil, err
	}
	if cfg.Match != "" {
		if d.match, d.group, err = valueGroup(cfg.Match); err != nil {
			return nil, err
		}
	}
	return d, d.cfg.Sampling.check()
}

// headerRunes are what the name of a header is made of.
const headerRunes = "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Run asks until ctx is done or an answer is none.
func (d *httpGet) Run(ctx context.Context, out *Outlet) error {
	if pause(ctx, time.Until(d.later)); ctx.Err() != nil {
		return nil
	}
	client := d.client()
	defer client.CloseIdleConnections()
	s := sampler{Sampling: d.cfg.Sampling, unit: d.cfg.Unit, read: func(ctx context.Context) (reading, error) {
		r, err := d.read(ctx, client)
		if err != nil {
			return r, fmt.Errorf("get a value from %s: %w", d.url.Host, err)
		}
		return r, nil
	}}
	return s.run(ctx, out)
}

// client makes a client without what the standard library adds: no proxy of the
// environment, no connection that outlives its request, no HTTP/2.
func (d *httpGet) client() *http.Client {
	connect := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.env.Dial(ctx, network, addr)
		if err != nil {
			return nil, absentError("connect to "+addr, err)
		}
		return conn, nil
	}
	return &http.Client{
		CheckRedirect: d.redirect,
		Transport: &http.Transport{
			DialContext:            connect,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHTTPHead,
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := connect(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return d.secure(ctx, conn, addr)
			},
		},
	}
}

// secure shakes hands over TLS, with the certificates that there are now.
func (d *httpGet) secure(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	conf, err := d.cfg.TLS.Config(addr)
	if err != nil {
		conn.Close()
		return nil, err
	}
	t := tls.Client(conn, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("shake hands over TLS: %w", err)
	}
	return t, nil
}

// redirect decides whether to follow, and takes what is secret off a request to
// another server.
func (d *httpGet) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("it leads on more than %d times", maxRedirects)
	}
	if sameServer(d.url, req.URL) {
		return nil
	}
	if !d.cfg.OtherHosts {
		return fmt.Errorf("it leads to %s://%s; other_hosts: true would follow it", req.URL.Scheme, req.URL.Host)
	}
	req.Header = http.Header{}
	return nil
}

// sameServer reports whether a redirect stays where it was. From http to https on the
// same host it does, and not the other way.
func sameServer(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	return from.Scheme == to.Scheme && from.Port() == to.Port() || from.Scheme == "http" && to.Scheme == "https"
}

// read asks once.
func (d *httpGet) read(ctx context.Context, client *http.Client) (reading, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout.D())
	defer cancel()
	req, err := d.request(ctx)
	if err != nil {
		return reading{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return reading{}, d.without(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		d.retryAfter(resp)
		return reading{}, fmt.Errorf("it answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return reading{}, d.without(ctx, err)
	case len(body) > maxBody:
		return reading{}, fmt.Errorf("the answer has over %d bytes", maxBody)
	}
	return d.value(body)
}

// request makes the request. The secrets are read now.
func (d *httpGet) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return nil, errors.New("http_get is no URL")
	}
	req.Header.Set("User-Agent", "fieldpost")
	for name, secret := range d.cfg.Headers {
		value, err := secret.Reveal()
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		req.Header.Set(name, value)
		if strings.EqualFold(name, "Host") {
			req.Host = value
		}
	}
	if d.cfg.User != "" || d.cfg.Password.Set() {
		password, err := d.cfg.Password.Reveal()
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(d.cfg.User, password)
	}
	return req, nil
}

// without takes the URL out of an error, since it may have a secret in it, and says
// what a deadline means.
func (d *httpGet) without(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, edge.ErrAbsent) {
		return fmt.Errorf("there was no whole answer within %s", d.cfg.Timeout)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// retryAfter keeps what a server asks for that is asked too often (RFC 9110, 10.2.3).
func (d *httpGet) retryAfter(resp *http.Response) {
	if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		d.later = time.Now().Add(min(time.Duration(n)*time.Second, maxLater))
	}
}

// value finds the value in an answer.
func (d *httpGet) value(body []byte) (reading, error) {
	text := strings.TrimSpace(string(body))
	if d.path != nil {
		raw, err := d.path.find(body)
		if err != nil {
			return reading{}, err
		}
		switch raw[0] {
		case '{', '[', 'n':
			return reading{}, fmt.Errorf("what is at %s is %.60s, and no number, true, false or text", d.path, raw)
		case 't', 'f':
			return reading{other: boolean(raw[0] == 't')}, nil
		case '"':
			if err := json.Unmarshal(raw, &text); err != nil {
				return reading{}, err
			}
		default:
			text = string(raw)
		}
	}
	if d.match != nil {
		m := d.match.FindStringSubmatch(text)
		if m == nil {
			return reading{}, fmt.Errorf("nothing matched in %.60q", text)
		}
		text = m[d.group]
	}
	return textReading(text)
}

// textReading is a text as a number where it is one.
func textReading(text string) (reading, error) {
	if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return reading{value: v}, nil
	}
	if text == "true" || text == "false" {
		return reading{other: json.RawMessage(text)}, nil
	}
	if len(text) > maxText || !utf8.ValidString(text) {
		return reading{}, fmt.Errorf("the value is no text of at most %d bytes: path or match would find one in it", maxText)
	}
	return reading{other: quote(text)}, nil
}
