package config

import (
	"strings"
	"testing"
)

// TestRedacted: no secret is in the text, and the text is a config that loads to
// itself.
func TestRedacted(t *testing.T) {
	cfg := mustLoad(t, one(t, full))
	out := cfg.String()
	for _, secret := range []string{"hunter2", "hunter3", "0123\n"} {
		if strings.Contains(strings.ReplaceAll(out, "0x76: \"0123\"", ""), secret) {
			t.Errorf("%q is in\n%s", secret, out)
		}
	}
	for _, want := range []string{"mqtts://********@broker:8883", "env:PASS", "file:/ca.pem", "Kitchen.Temp", "debounce: 30ms", "keep: 5k events"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	again := mustLoad(t, one(t, out))
	if again.String() != out {
		t.Errorf("it was\n%s\nand is\n%s", out, again)
	}
	if cfg.Hash != again.Hash || len(cfg.Hash) != 12 {
		t.Errorf("hashes %s and %s", cfg.Hash, again.Hash)
	}
	other := mustLoad(t, one(t, strings.Replace(full, "30ms", "31ms", 1)))
	if other.Hash == cfg.Hash {
		t.Error("another config has the same hash")
	}
}

// TestSecretsInProblems: whatever is wrong around a secret, it is not shown.
func TestSecretsInProblems(t *testing.T) {
	for _, yaml := range []string{
		"keys: {app: {role: hunter, secret: [hunter2]}}",
		"keys: {app: {role: read, secret: {a: hunter2}}}",
		"keys: {app: {role: read, secrt: hunter2}}",
		"keys: {app: {role: 1, secret: hunter2}, b: {role: read, secret: hunter2}}",
		"uplinks: {a: {wire: x, window: \"mqtt://me:hunter2@host\"}}",
		"uplinks: {a: {wire: x, limit: \"mqtt://me:p/hunter2@host\"}}",
		"uplinks: {a: {wire: x, password: }, b: {wire: x, password: hunter2, pass: hunter2}}",
		"api: {listen: [\"http://me:hunter2@x\"], tls: {cert: hunter2}}",
		"api: {tls: hunter2}",
		"keys: hunter2",
	} {
		if got := strings.Join(problems(t, one(t, yaml)), "\n"); strings.Contains(got, "hunter2") {
			t.Errorf("%s:\n%s", yaml, got)
		}
	}
}
