package config

import (
	"slices"
	"testing"

	"fieldpost/edge"
)

// TestReferences: secrets are found wherever the config has them, literals not.
func TestReferences(t *testing.T) {
	secret := func(text string) (s edge.Secret) {
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	type options struct {
		Password edge.Secret
		Headers  map[string]edge.Secret
		Many     []edge.Secret
		hidden   edge.Secret
	}
	c := &Config{
		Keys: map[string]*Key{"a": {Secret: secret("env:KEY")}, "b": {Secret: secret("plain")}},
		Uplinks: map[string]*Uplink{"cloud": {Options: &options{Password: secret("file:/etc/p"), Headers: map[string]edge.Secret{"x": secret("cred:x")},
			Many: []edge.Secret{secret("env:KEY"), secret("literal:file:/no")}, hidden: secret("file:/hidden")}}},
	}
	if got, want := c.References(), []string{"cred:x", "env:KEY", "file:/etc/p"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (&Config{}).References(); len(got) != 0 {
		t.Errorf("%v in nothing", got)
	}
}
