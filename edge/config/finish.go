package config

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"fieldpost/edge"
)

// The bounds of what a user may ask for.
const (
	maxMailboxes   = 64
	maxBatchEvents = 10_000
)

// finish checks what only the typed values can tell, and fills in the rest.
func (l *loader) finish(cfg *Config, c *checker) {
	if cfg.Agent.ID != "" {
		if what, cure := nameProblem("agent", cfg.Agent.ID); what != "" {
			l.bad(path{"agent", "id"}, what, cure)
		}
	}
	cfg.DataDir = filepath.Clean(cfg.DataDir)
	for _, name := range slices.Sorted(maps.Keys(cfg.Devices)) {
		l.device(name, cfg.Devices[name], c)
	}
	l.refused(cfg.Devices, cfg.Uplinks, c)
	l.store(&cfg.Store)
	l.rowRings(cfg)
	l.rowUplinks(cfg)
	for _, name := range slices.Sorted(maps.Keys(cfg.Uplinks)) {
		l.uplink(name, cfg.Uplinks[name], c)
	}
	l.api(&cfg.API)
	l.keys(cfg.Keys)
	l.mailboxes(cfg.Mailboxes)
	l.led(cfg.LED)
	l.button(cfg.Button)
	l.openSecrets(c)
}

// bad adds a problem at the place of p, or at what of it there is.
func (l *loader) bad(p path, what, cure string) {
	l.probs.add(l.at(p), what, cure)
}

// at is the place of the value at p, else of the nearest thing above it.
func (l *loader) at(p path) place { return l.root.nearest(p) }

// nearest is where the value at p is written, or what is around it.
func (n *node) nearest(p path) place {
	at := n.at
	for _, k := range p {
		if i := index(k); i >= 0 && n.shape != dict {
			if i < len(n.items) {
				at = n.items[i].at
			}
			return at
		}
		e := n.entry(k)
		if e == nil {
			break
		}
		at, n = e.at, e.val
		if n.shape == scalar {
			at = n.at
		}
	}
	return at
}

// index reads a list's part of a path, "[2]"; -1 where it is a key.
func index(part string) int {
	if len(part) < 3 || part[0] != '[' {
		return -1
	}
	i, err := strconv.Atoi(part[1 : len(part)-1])
	if err != nil {
		return -1
	}
	return i
}

// has reports whether the user wrote the key at p, right or wrong.
func (l *loader) has(p path) bool { return l.root.find(p...) != nil }

func (l *loader) device(name string, d *Device, c *checker) {
	p := path{"devices", name}
	if d == nil {
		return
	}
	d.Name = name
	if d.Ring != "" {
		l.ringName(p.with("ring"), d.Ring, true)
	}
	for i, tag := range d.Tags {
		if tag == "" {
			l.bad(p.with("tags").with("["+strconv.Itoa(i)+"]"), p.String()+".tags has an empty tag", "take it out")
		}
	}
	if d.At != nil && !c.bad[p.String()] {
		at := p.with("at")
		if !l.has(at.with("lat")) || !l.has(at.with("lon")) {
			l.bad(at, at.String()+" needs both lat and lon", "write  at: {lat: 52.5, lon: 13.4}")
		} else if d.At.Lat < -90 || d.At.Lat > 90 || d.At.Lon < -180 || d.At.Lon > 180 {
			l.bad(at, at.String()+" is not on Earth", "lat is -90 to 90, lon is -180 to 180")
		}
	}
	l.validate(p, d.Options, c)
}

// refused tells which devices could not be made. Those that have a problem already are
// left out: theirs would be an echo.
func (l *loader) refused(devices map[string]*Device, uplinks map[string]*Uplink, c *checker) {
	if c.tables.Refused == nil {
		return
	}
	whole := map[string]*Device{}
	for name, d := range devices {
		if p := (path{"devices", name}); d != nil && d.Options != nil && !c.bad[p.String()] {
			whole[name] = d
		}
	}
	why := c.tables.Refused(whole, slices.Sorted(maps.Keys(uplinks)))
	for _, name := range slices.Sorted(maps.Keys(why)) {
		l.invalid(path{"devices", name}, why[name])
	}
}

// validate lets a plug-in's struct check itself, unless its entry already has a
// problem, of which this would be an echo.
func (l *loader) validate(p path, options any, c *checker) {
	v, ok := options.(interface{ Validate() error })
	if !ok || c.bad[p.String()] {
		return
	}
	l.invalid(p, v.Validate())
}

// invalid tells of each error that a plug-in's Validate joined, at its key.
func (l *loader) invalid(p path, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			l.invalid(p, e)
		}
		return
	}
	var keyed interface{ Key() string }
	at := p
	if errors.As(err, &keyed) && keyed.Key() != "" {
		at = p.with(keyed.Key())
	}
	l.bad(at, at.String()+": "+hideLogin(err.Error()), "")
}

// ringName checks the name of a ring that something refers to. Into the guarded
// rings only the agent itself writes.
func (l *loader) ringName(p path, ring string, write bool) {
	what, cure := nameProblem("ring", ring)
	switch {
	case what != "":
		l.bad(p, p.String()+": "+what, cure)
	case write && edge.Guarded(ring):
		l.bad(p, p.String()+": only the agent itself writes into "+ring, "name another ring")
	}
}

func (l *loader) ringNames(p path, rings []string) {
	if rings != nil && len(rings) == 0 && l.root.find(p...).isEmptyList() {
		l.bad(p, p.String()+" is empty", "name a ring, or take the key out for the usual ones")
	}
	for i, ring := range rings {
		at := p.with("[" + strconv.Itoa(i) + "]")
		l.ringName(at, ring, false)
		if slices.Contains(rings[:i], ring) {
			l.bad(at, at.String()+": "+ring+" is in the list twice", "keep one of them")
		}
	}
}

func (n *node) isEmptyList() bool { return n != nil && n.shape == list && len(n.items) == 0 }

// patterns checks a list of names with *.
func (l *loader) patterns(p path, names []string) {
	for i, name := range names {
		if name == "" || len(name) > edge.MaxName {
			l.bad(p.with("["+strconv.Itoa(i)+"]"), p.String()+" has a name that is empty or over 256 bytes", "write it like door or kitchen/*")
		}
	}
}

func (l *loader) store(s *StoreConfig) {
	s.Default = otherRing()
	for name, r := range s.Rings {
		p := path{"store", "rings", name}
		for _, key := range []string{"keep", "size", "age"} {
			zero := key == "keep" && r.Keep == 0 || key == "size" && r.Size == 0 || key == "age" && r.Age == 0
			if n := l.root.find("store", "rings", name, key); zero && n != nil && n.text != "" && n.text[0] == '0' {
				l.bad(p.with(key), p.with(key).String()+": a ring must keep something", "write how much")
			}
		}
		if r.WhenFull != "" && r.WhenFull != Evict && r.WhenFull != Thin {
			l.bad(p.with("when_full"), p.with("when_full").String()+": "+quote(r.WhenFull)+" is not known", "write evict or thin, or take it out")
		}
		if r.Keep == 0 && r.Size == 0 && !s.Reserved(name) {
			r.Keep, r.Size = s.Default.Keep, s.Default.Size
		}
		s.Rings[name] = r
	}
	l.thinned(s)
	if s.Headroom == 0 && l.has(path{"store", "headroom"}) {
		s.Headroom = -1
	}
}

func (l *loader) uplink(name string, u *Uplink, c *checker) {
	p := path{"uplinks", name}
	if u == nil {
		return
	}
	u.Name = name
	l.ringNames(p.with("rings"), u.Rings)
	u.Order = l.choice(p.with("order"), u.Order, "in-order", "live-first")
	u.From = l.choice(p.with("from"), u.From, "oldest", "now")
	if u.Batch.Events < 0 || u.Batch.Events > maxBatchEvents {
		at := p.with("batch").with("events")
		l.bad(at, at.String()+": "+strconv.Itoa(u.Batch.Events)+" is out of bounds", "write 1 to "+strconv.Itoa(maxBatchEvents))
	}
	l.prefix(p.with("prefix"), u.Prefix)
	l.pair(p.with("tls"), u.TLS.Cert, u.TLS.Key)
	l.pem(p.with("tls").with("ca"), u.TLS.CA)
	if u.TLS.Insecure {
		at := p.with("tls").with("insecure")
		l.warn(l.at(at).String() + ": " + at.String() + " takes any certificate: whoever is in between can read and change everything")
	}
	l.validate(p, u.Options, c)
}

// choice checks a value that is one of a few words; the first is the default.
func (l *loader) choice(p path, value string, words ...string) string {
	switch {
	case value == "":
		return words[0]
	case !slices.Contains(words, value):
		l.bad(p, p.String()+": "+quote(value)+" is not known", didYouMean(value, words))
	}
	return value
}

// pair checks that a certificate comes with its key.
func (l *loader) pair(p path, cert, key edge.Secret) {
	l.pem(p.with("cert"), cert)
	l.pem(p.with("key"), key)
	if cert.Set() == key.Set() || l.has(p.with("cert")) && l.has(p.with("key")) {
		return
	}
	lacks, other := "key", "cert"
	if key.Set() {
		lacks, other = other, lacks
	}
	l.bad(p.with(other), p.String()+" has a "+other+" and no "+lacks, "give both, or none")
}

// pem checks a certificate or key that is written out: most often it is a path
// that lacks its file:. What is elsewhere is read by the start.
func (l *loader) pem(p path, s edge.Secret) {
	if s.Source() != "literal" {
		return
	}
	if text, err := s.Reveal(); err != nil || !strings.Contains(text, "-----BEGIN ") {
		l.bad(p, p.String()+" is no PEM text", "write file:PATH where it is in a file")
	}
}

func (l *loader) keys(keys map[string]*Key) {
	seen := make(map[edge.Secret]string)
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		k, p := keys[name], path{"keys", name}
		if k == nil {
			continue
		}
		k.Name = name
		roles := []string{"read", "write", "admin", "forward"}
		switch {
		case !l.has(p.with("role")):
			l.bad(p, p.String()+" has no role", "write  role: "+oneOf(roles))
		case k.Role != "" && !slices.Contains(roles, k.Role):
			l.bad(p.with("role"), p.with("role").String()+": "+quote(k.Role)+" is not known", didYouMean(k.Role, roles))
		}
		if !l.has(p.with("secret")) {
			l.bad(p, p.String()+" has no secret", "write  secret: file:PATH, env:NAME or cred:NAME")
		} else if first, ok := seen[k.Secret]; ok && k.Secret.Set() {
			l.bad(p.with("secret"), p.String()+" has the secret of keys."+first, "give each key its own")
		}
		seen[k.Secret] = name
		l.patterns(p.with("names"), k.Names)
	}
}

func (l *loader) mailboxes(boxes map[string]*Mailbox) {
	if len(boxes) > maxMailboxes {
		l.bad(path{"mailboxes"}, "there are over "+strconv.Itoa(maxMailboxes)+" mailboxes", "take some out")
	}
	for _, name := range slices.Sorted(maps.Keys(boxes)) {
		b, p := boxes[name], path{"mailboxes", name}
		if b == nil {
			continue
		}
		b.Name = name
		if b.Keep != nil && *b.Keep < 0 {
			l.bad(p.with("keep"), p.with("keep").String()+" is below 0", "write how many to keep; 0 stores nothing")
		}
		l.patterns(p.with("names"), b.Names)
		l.ringNames(p.with("rings"), b.Rings)
	}
}

// openSecrets warns of each secret that is written out in a file that everyone on
// the machine may read.
func (l *loader) openSecrets(c *checker) {
	told := make(map[place]bool)
	for _, s := range c.literals {
		if l.open[s.at.file] && !told[s.at] {
			told[s.at] = true
			l.warn(s.at.String() + ": " + s.path.String() + " is written out in a file that everyone may read: chmod 640, or write file:PATH")
		}
	}
}
