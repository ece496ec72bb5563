package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// doctorOf runs doctor on a machine of the given files, with a config.
func doctorOf(t *testing.T, config string, files map[string]string) (found []symptom, code int) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "fieldpost.yaml")
	if err := os.WriteFile(conf, []byte("data_dir: "+dir+"\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = run(context.Background(), []string{"--socket", filepath.Join(dir, "none.sock"), "doctor", conf, "-o", "json"},
		&shell{In: strings.NewReader(""), Out: &out, Err: &errs, Root: root, Exit: func(int) {}})
	var answer struct {
		OK       bool
		Findings []symptom
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Fatalf("%v in %q, %q", err, out.String(), errs.String())
	}
	if answer.OK != (code == 0) {
		t.Errorf("ok %v, exit code %d", answer.OK, code)
	}
	return answer.Findings, code
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const throttled = "sys/devices/platform/soc/soc:firmware/get_throttled"
	tests := []struct {
		name, config string
		files        map[string]string
		check        string
		health       health
		text, cure   string
	}{
		{"a mistake in the config", "devices: {door: {digital_inn: GPIO17}}", nil, "config", ailing, "digital_in", "fieldpost check"},
		{"no agent", "", nil, "agent", ailing, "no agent", "systemctl start"},
		{"no lines", "", nil, "gpio", notable, "no GPIO chip", "--simulate"},
		{"a chip that is none", "", map[string]string{"dev/gpiochip0": ""}, "gpio", ailing, "GPIO17", ""},
		{"an upgrade that was taken back", "", map[string]string{"usr/lib/fieldpost/rollback": "0.4.1\nThis is 0.4.1: 0.5.0 was not ready.\n"}, "package", ailing, "0.5.0 was not ready", "journalctl"},
		{"a config that was refused", "", map[string]string{"boot/firmware/fieldpost.yaml": "x\n", "boot/firmware/fieldpost.yaml.error": "no\n"}, "package", ailing, "/boot/firmware/fieldpost.yaml was not taken up", "firstboot"},
		{"a config that waits", "", map[string]string{"boot/fieldpost.yaml": "x\n"}, "package", notable, "/boot/fieldpost.yaml is on the boot partition", "firstboot"},
		{"nothing of the package's", "", nil, "package", healthy, "no upgrade was taken back", ""},
		{"the board", "", map[string]string{"proc/device-tree/model": "Raspberry Pi Zero W\x00", "etc/os-release": "PRETTY_NAME=\"Raspbian 13\"\n"}, "board", healthy, "Raspberry Pi Zero W, Raspbian 13", ""},
		{"not installed", "", nil, "groups", notable, "no user fieldpost", ""},
		{"groups", "", map[string]string{"etc/passwd": "root:x:0:0::/:/\nfieldpost:x:99:99::/:/\n", "etc/group": "gpio:x:1:fieldpost,pi\nspi:x:3:pi\n"}, "groups", ailing, "not in group spi", "usermod -aG spi fieldpost"},
		{"all groups", "", map[string]string{"etc/passwd": "fieldpost:x:99:99::/:/\n", "etc/group": "gpio:x:1:fieldpost\ni2c:x:2:fieldpost\nspi:x:3:fieldpost\ndialout:x:4:pi,fieldpost\n"}, "groups", healthy, "is in gpio", ""},
		{"low voltage", "", map[string]string{throttled: "50005\n"}, "power", ailing, "below 4.63 V now", "supply"},
		{"low voltage once", "", map[string]string{throttled: "50000\n"}, "power", notable, "since the boot", "supply"},
		{"heat", "", map[string]string{throttled: "8\n"}, "power", notable, "too hot", "air"},
		{"a good supply", "", map[string]string{throttled: "0\n"}, "power", healthy, "no under-voltage", ""},
		{"low voltage by the kernel", "", map[string]string{"sys/class/hwmon/hwmon1/name": "rpi_volt\n", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}, "power", ailing, "too low now", "supply"},
		{"no such LED", "led: ACTT", map[string]string{"sys/class/leds/ACT/trigger": ""}, "led", ailing, "there is ACT", "/sys/class/leds"},
		{"an LED of root's", "led: ACT", map[string]string{"sys/class/leds/ACT/brightness": "", "sys/class/leds/ACT/trigger": ""}, "led", ailing, "may not write brightness", "udevadm trigger"},
		{"no crash", "", nil, "crashes", healthy, "no crash", ""},
		{"a log in memory", "", map[string]string{"run/systemd/system/x": ""}, "log", notable, "in memory", "/var/log/journal"},
		{"a log on disk", "", map[string]string{"run/systemd/system/x": "", "var/log/journal/x": ""}, "log", healthy, "on the disk", ""},
		{"no memory cgroup", "", map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpu io pids\n"}, "memory", notable, "MemoryMax bounds nothing", "cgroup_enable=memory"},
		{"a port in use", "api: {listen: " + taken.Addr().String() + "}", nil, "ports", ailing, "in use", "ss -ltnp"},
		{"little room", "store: {headroom: 900TB}", nil, "disk", ailing, "less than the headroom", "make room"},
		{"room", "store: {headroom: 1kB}", nil, "disk", healthy, "free of", ""},
		{"uplinks without an agent", "uplinks: {cloud: {mqtt: \"mqtt://127.0.0.1:1\"}}", nil, "uplinks", notable, "none answers", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, code := doctorOf(t, tt.config, tt.files)
			if code != 1 { // there is no agent
				t.Errorf("exit code %d", code)
			}
			for _, s := range found {
				if s.Check == tt.check && s.Health == tt.health && strings.Contains(s.Text, tt.text) && strings.Contains(s.Cure, tt.cure) {
					return
				}
			}
			t.Errorf("not found: %+v", found)
		})
	}
}

func TestCertificateEnds(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pi.lan"}, NotAfter: end},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for _, tt := range []struct {
		pem    string
		before time.Duration
		want   health
	}{
		{text, 100 * 24 * time.Hour, healthy},
		{text, 10 * 24 * time.Hour, notable},
		{text, -time.Hour, ailing},
		{"nonsense", 0, ailing},
		{"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0, ailing},
	} {
		if s := certificate(tt.pem, end.Add(-tt.before)); s.Health != tt.want {
			t.Errorf("%s before its end: %+v", tt.before, s)
		}
	}
}

// verbDoctor: with an agent its devices and uplinks are looked at.
func verbDoctor(t *testing.T, s *sandbox) {
	s.run("doctor").want(t, 1, "box", "2 devices", "cloud", "refused", "bad, each with its cure")
	answer := decode[struct{ Findings []symptom }](t, s.run("doctor", "-o", "json").want(t, 1))
	checks := map[string]bool{}
	for _, f := range answer.Findings {
		checks[f.Check] = true
	}
	for _, name := range []string{"config", "agent", "board", "devices", "uplinks", "clock", "disk", "card"} {
		if !checks[name] {
			t.Errorf("nothing of %s: %+v", name, answer.Findings)
		}
	}
	s.run("doctor", "a", "b").want(t, 2, "one config file")
}
