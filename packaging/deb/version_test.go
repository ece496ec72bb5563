package main

import (
	"os/exec"
	"testing"
)

func TestDebianVersion(t *testing.T) {
	for _, tt := range []struct{ text, want, upstream string }{
		{"v1.2.0", "1.2.0-1", "1.2.0"},
		{"1.2.0", "1.2.0-1", "1.2.0"},
		{"v1.2.0-rc.1", "1.2.0~rc.1-1", "1.2.0~rc.1"},
		{"v1.2.0-rc.1-3-gabc1234", "1.2.0~rc.1+git3.abc1234-1", "1.2.0~rc.1+git3.abc1234"},
		{"v1.2.0-14-gabc1234", "1.2.0+git14.abc1234-1", "1.2.0+git14.abc1234"},
		{"v1.2.0-14-gabc1234-dirty", "1.2.0+git14.abc1234.dirty-1", "1.2.0+git14.abc1234.dirty"},
		{"v1.2.0-dirty", "1.2.0+dirty-1", "1.2.0+dirty"},
		{"33adeac", "0.0.0+git0.33adeac-1", "0.0.0+git0.33adeac"},
		{"33adeac-dirty", "0.0.0+git0.33adeac.dirty-1", "0.0.0+git0.33adeac.dirty"},
		{"0.3.0~dev+gitabc-1", "0.3.0~dev+gitabc-1", "0.3.0~dev+gitabc"},
		{"0.3.0-2", "0.3.0-2", "0.3.0"},
	} {
		got, err := debianVersion(tt.text)
		if err != nil || string(got) != tt.want || got.upstream() != tt.upstream {
			t.Errorf("debianVersion(%q) = %q (%q), %v, want %q (%q)", tt.text, got, got.upstream(), err, tt.want, tt.upstream)
		}
	}
	for _, text := range []string{"", "dev", "1.0 -1", "1:2.0-1", "v1.0_1-1", "../x-1", "1.0/2-1"} {
		if got, err := debianVersion(text); err == nil {
			t.Errorf("debianVersion(%q) = %q, want an error", text, got)
		}
	}
}

// Later versions upgrade earlier ones: dpkg itself compares them.
func TestVersionsSortAsTheyWereMade(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("there is no dpkg here")
	}
	made := []string{
		"33adeac", "v0.0.0-9-gfff1234", "v0.0.0-88-gaaa1234", "v1.0.0-rc.1", "v1.0.0-rc.2", "v1.0.0-rc.2-5-gabc1234",
		"v1.0.0", "v1.0.0-1-gfff1234", "v1.0.0-12-gabc1234", "v1.0.1",
	}
	for i := 1; i < len(made); i++ {
		low, err := debianVersion(made[i-1])
		if err != nil {
			t.Fatal(err)
		}
		high, err := debianVersion(made[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := exec.Command(dpkg, "--compare-versions", string(low), "lt", string(high)).Run(); err != nil {
			t.Errorf("%s is not below %s", low, high)
		}
	}
}
