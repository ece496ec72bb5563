package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"fieldpost/edge"
)

func agentCheck(ctx context.Context, p *patient) []symptom {
	raw, err := p.fetch(ctx, "/v1/status")
	var st status
	if err == nil {
		err = decodeAnswer(raw, &st)
	}
	if errors.Is(err, os.ErrPermission) {
		p.down = err
		return one(ailing, oneLine(err.Error()), "sudo fieldpost doctor; or sudo usermod -aG fieldpost $USER, and a new login")
	}
	if err != nil {
		p.down = err
		return one(ailing, oneLine(err.Error()), "sudo systemctl start fieldpost; journalctl -u fieldpost says why it does not")
	}
	p.status = &st
	found := one(healthy, fmt.Sprintf("%s %s, up %s, %s", st.Agent.ID, st.Agent.Version, ago(seconds(st.Agent.Uptime)), st.State), "")
	if version != st.Agent.Version {
		found = append(found, symptom{Health: notable, Text: fmt.Sprintf("this command is version %s, the agent is %s", version, st.Agent.Version),
			Cure: "sudo systemctl restart fieldpost"})
	}
	for _, problem := range st.Problems {
		found = append(found, symptom{Health: ailing, Text: oneLine(problem)})
	}
	return found
}

func devicesCheck(ctx context.Context, p *patient) []symptom {
	if p.status == nil {
		return nil
	}
	raw, err := p.fetch(ctx, "/v1/devices")
	var list struct {
		Devices []edge.DeviceStatus `json:"devices"`
	}
	if err == nil {
		err = decodeAnswer(raw, &list)
	}
	if err != nil {
		return one(ailing, "the devices can't be asked: "+oneLine(err.Error()), "")
	}
	found := one(healthy, fmt.Sprintf("%d devices", len(list.Devices)), "")
	for _, d := range list.Devices {
		switch {
		case d.Status == "absent" || d.Status == "failed":
			found = append(found, symptom{Health: ailing, Text: fmt.Sprintf("%s (%s) is %s: %s", d.Name, d.Driver, d.Status, oneLine(d.Error))})
		case d.Error != "":
			found = append(found, symptom{Health: notable, Text: fmt.Sprintf("%s (%s): %s", d.Name, d.Driver, oneLine(d.Error))})
		}
	}
	return found
}

// portsCheck tries the addresses where no agent runs: one that does has them.
func portsCheck(ctx context.Context, p *patient) []symptom {
	if p.config == nil || p.status != nil || errors.Is(p.down, os.ErrPermission) { // an agent has them
		return nil
	}
	var found []symptom
	for _, addr := range p.config.API.Listen {
		if strings.HasPrefix(addr, "unix:") {
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", addr)
		switch {
		case err == nil:
			l.Close()
			found = append(found, symptom{Health: healthy, Text: addr + " is free"})
		case errors.Is(err, syscall.EADDRINUSE):
			found = append(found, symptom{Health: ailing, Text: addr + " is in use by another program", Cure: "sudo ss -ltnp tells which; api.listen chooses another port"})
		default:
			found = append(found, symptom{Health: ailing, Text: addr + " can't be listened on: " + oneLine(err.Error()), Cure: "see api.listen"})
		}
	}
	return found
}

// soonOver is how long before its end a certificate is worth a word.
const soonOver = 30 * 24 * time.Hour

func certificateCheck(_ context.Context, p *patient) []symptom {
	if p.config == nil || !p.config.API.TLS.Cert.Set() {
		return nil
	}
	text, err := p.config.API.TLS.Cert.Reveal()
	if err != nil {
		return one(notable, "the API's certificate can't be read by this user: "+oneLine(err.Error()), "")
	}
	return []symptom{certificate(text, time.Now())}
}

// certificate judges the API's own certificate.
func certificate(pemText string, now time.Time) symptom {
	block, rest := pem.Decode([]byte(pemText))
	for block != nil && block.Type != "CERTIFICATE" { // a key may be in the same file
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return symptom{Health: ailing, Text: "api.tls.cert is no PEM"}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return symptom{Health: ailing, Text: "api.tls.cert can't be read: " + oneLine(err.Error())}
	}
	days := int(cert.NotAfter.Sub(now).Hours() / 24)
	text := fmt.Sprintf("the API's certificate of %s ends in %d days", cert.Subject.CommonName, days)
	switch {
	case now.After(cert.NotAfter):
		return symptom{Health: ailing, Text: fmt.Sprintf("the API's certificate ended %s", cert.NotAfter.Format(time.DateOnly)), Cure: "renew it, and restart the agent"}
	case now.Add(soonOver).After(cert.NotAfter):
		return symptom{Health: notable, Text: text, Cure: "renew it, and restart the agent"}
	}
	return symptom{Health: healthy, Text: text}
}

// uplinksCheck has the agent test each uplink, step by step.
func uplinksCheck(ctx context.Context, p *patient) []symptom {
	if p.config == nil || len(p.config.Uplinks) == 0 {
		return nil
	}
	if p.status == nil {
		return one(notable, "the uplinks are tested by the agent, and none answers", "")
	}
	var found []symptom
	for i := range p.status.Uplinks {
		found = append(found, p.uplink(ctx, &p.status.Uplinks[i]))
	}
	return found
}

func (p *patient) uplink(ctx context.Context, u *edge.UplinkStatus) symptom {
	var result struct {
		Steps []testStep `json:"steps"`
	}
	raw, err := p.send(ctx, http.MethodPost, "/v1/uplinks/"+url.PathEscape(u.Name)+"/test", nil)
	if err == nil {
		err = json.Unmarshal(raw, &result)
	}
	if err != nil {
		return symptom{Health: ailing, Text: fmt.Sprintf("%s: it can't be tested: %s", u.Name, oneLine(err.Error()))}
	}
	var fine []string
	for _, s := range result.Steps {
		if !s.OK {
			return symptom{Health: ailing, Text: fmt.Sprintf("%s (%s): %s: %s; before it: %s", u.Name, u.Address, s.Name, oneLine(s.Detail), orNone(fine))}
		}
		fine = append(fine, s.Name)
	}
	text := fmt.Sprintf("%s (%s): %s", u.Name, u.Address, orNone(fine))
	if u.Backlog > 0 {
		text += fmt.Sprintf("; %d events wait", u.Backlog)
	}
	return symptom{Health: healthy, Text: text}
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ") + " fine"
}
