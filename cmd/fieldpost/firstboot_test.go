package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

const bootDevice = "devices:\n  door: {digital_in: GPIO17, pull: up}\n"

// bootCard is a root file system with a boot partition and the package's config.
type bootCard struct {
	t    *testing.T
	root string
}

func newCard(t *testing.T, config string) *bootCard {
	c := &bootCard{t, t.TempDir()}
	c.put("/etc/fieldpost/fieldpost.yaml", config)
	for _, dir := range []string{"/boot/firmware", "/etc/fieldpost/conf.d"} {
		if err := os.MkdirAll(c.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *bootCard) put(name, text string) {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(c.root+name), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.root+name, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// text is a file's, "" where there is none.
func (c *bootCard) text(name string) string {
	b, _ := os.ReadFile(c.root + name)
	return string(b)
}

// starts runs firstboot, as the unit does.
func (c *bootCard) starts(code int, args ...string) result {
	c.t.Helper()
	var out, errs bytes.Buffer
	got := run(context.Background(), append([]string{"firstboot"}, args...), &shell{In: strings.NewReader(""), Out: &out, Err: &errs, Root: c.root, Exit: func(int) {}})
	r := result{got, out.String(), errs.String()}
	if got != code {
		c.t.Fatalf("exit code %d, want %d: %s%s", got, code, r.out, r.err)
	}
	return r
}

const inBoot = "/boot/firmware/fieldpost.yaml"

// isTaken checks the end state: the config is there, for the group; the partition has
// a note and no config.
func (c *bootCard) isTaken(want string) {
	c.t.Helper()
	if got := c.text(bootConfig); got != want {
		c.t.Errorf("the config is %q, want %q", got, want)
	}
	st, err := os.Stat(c.root + bootConfig)
	if err != nil || st.Mode() != 0o640 {
		c.t.Errorf("its mode is %v, %v", st, err)
	}
	files, _ := filepath.Glob(c.root + "/boot/firmware/*")
	if len(files) != 1 || !strings.HasSuffix(files[0], ".taken") || strings.Contains(c.text(inBoot+".taken"), "GPIO17") {
		c.t.Errorf("the partition has %q", files)
	}
}

func TestFirstboot(t *testing.T) {
	packaged, err := os.ReadFile("../../packaging/fieldpost.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := newCard(t, string(packaged))
	c.starts(0) // nothing is there
	c.put(inBoot, bootDevice)
	c.starts(0).want(t, 0, inBoot+" was taken up: it is "+bootConfig+" now")
	c.isTaken(bootDevice)
	cfg, err := (&app{shell: &shell{}}).loadConfig(c.root+"/etc/fieldpost/fieldpost.yaml", nil)
	if err != nil || cfg.Devices["door"] == nil {
		t.Errorf("the config has no door: %v", err)
	}

	// a second one is not, until it is asked for
	second := strings.Replace(bootDevice, "GPIO17", "GPIO22", 1)
	c.put(inBoot, second)
	c.starts(2).want(t, 2, "took one up already", "--again")
	if !strings.Contains(c.text(inBoot+".error"), "took one up already") || c.text(inBoot) != second || c.text(bootConfig) != bootDevice {
		t.Errorf("the refused one: %q, %q", c.text(inBoot+".error"), c.text(bootConfig))
	}
	c.starts(0, "--again")
	c.isTaken(second)
}

// The whole example of the package, as a person copies it to the card, does not stand
// against the one that is installed.
func TestFirstbootTakesTheWholeExample(t *testing.T) {
	packaged, err := os.ReadFile("../../packaging/fieldpost.yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.NewReplacer("#data_dir:", "data_dir:", "#api:", "api:", "#  listen:", "  listen:").Replace(string(packaged))
	c := newCard(t, string(packaged))
	c.put(inBoot, whole)
	c.starts(0)
	c.isTaken(whole)
}

// Editors of a PC write other bytes of the same text.
func TestFirstbootOfAnyEditor(t *testing.T) {
	utf16of := func(order string) string {
		var b []byte
		for _, u := range utf16.Encode([]rune("\ufeff" + strings.ReplaceAll(bootDevice, "\n", "\r\n"))) {
			if order == "le" {
				b = append(b, byte(u), byte(u>>8))
			} else {
				b = append(b, byte(u>>8), byte(u))
			}
		}
		return string(b)
	}
	for name, text := range map[string]string{
		"CRLF": strings.ReplaceAll(bootDevice, "\n", "\r\n"), "BOM": "\ufeff" + strings.ReplaceAll(bootDevice, "\n", "\r\n"),
		"UTF-16": utf16of("le"), "UTF-16 big-endian": utf16of("be"),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCard(t, "")
			c.put(inBoot, text)
			c.starts(0)
			c.isTaken(bootDevice)
		})
	}
}

// What is wrong stands beside the file, as the person who reads the card knows it, and
// nothing is changed. Mended, it is taken.
func TestFirstbootRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a mistake", "devices: {door: {digital_inn: GPIO17}}\n", inBoot + ":1:18: "},
		{"no YAML", "devices: {door\n", inBoot + ":"},
		{"an object of another file", "devices: {pump: {digital_out: GPIO27}}\n", "devices.pump is also in /etc/fieldpost/fieldpost.yaml:1:11"},
		{"a pin of another file", "devices: {door: {digital_in: GPIO27}}\n", "GPIO27"},
		{"another language's letters", "agent: {id: caf\xe9}\n", "not UTF-8"},
		{"too much", "#" + strings.Repeat("x", maxBoot) + "\n", "over 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCard(t, "devices: {pump: {digital_out: GPIO27}}\n")
			c.put("/etc/fieldpost/conf.d/more.yaml", "devices: {bell: {button: GPIO23}}\n")
			c.put(inBoot, tt.text)
			r := c.starts(2).want(t, 2, tt.want)
			note := c.text(inBoot + ".error")
			if !strings.Contains(note, tt.want) || strings.Contains(r.err+note, "/tmp/fieldpost-boot") {
				t.Errorf("the note is %q, it said %q", note, r.err)
			}
			if c.text(bootConfig) != "" || c.text(inBoot) != tt.text || c.text(bootStamp) != "" {
				t.Errorf("it changed the config to %q", c.text(bootConfig))
			}
			before, _ := os.Stat(c.root + inBoot + ".error")
			c.starts(2)
			if after, err := os.Stat(c.root + inBoot + ".error"); err != nil || !after.ModTime().Equal(before.ModTime()) {
				t.Error("the same note was written again")
			}
			c.put(inBoot, bootDevice)
			c.starts(0)
			c.isTaken(bootDevice)
		})
	}
}

// A power cut between any two steps: the next start finishes it.
func TestFirstbootAfterPowerCuts(t *testing.T) {
	cut := func(name string, state func(*bootCard)) {
		t.Run(name, func(t *testing.T) {
			c := newCard(t, "")
			c.put(inBoot, bootDevice)
			c.starts(0)
			state(c)
			c.starts(0)
			c.isTaken(bootDevice)
		})
	}
	cut("the config is written, for root alone", func(c *bootCard) {
		c.put(inBoot, bootDevice)
		os.Remove(c.root + bootStamp)
		os.Remove(c.root + inBoot + ".taken")
		if err := os.Chmod(c.root+bootConfig, 0o600); err != nil {
			c.t.Fatal(err)
		}
	})
	cut("half a config was never given its name", func(c *bootCard) {
		c.put(inBoot, bootDevice)
		c.put(bootConfig+".new", "devi")
		os.Remove(c.root + bootConfig)
		os.Remove(c.root + bootStamp)
	})
	cut("another one was asked for, and is written for root alone", func(c *bootCard) {
		c.put(inBoot, bootDevice)
		c.put(bootStamp, `{"sha256": "of the one before"}`)
		if err := os.Chmod(c.root+bootConfig, 0o600); err != nil {
			c.t.Fatal(err)
		}
	})
	cut("it is marked", func(c *bootCard) { c.put(inBoot, bootDevice) })
	cut("it is half wiped", func(c *bootCard) { c.put(inBoot, strings.Repeat("\x00", 10)+bootDevice[10:]) })
	cut("it is wiped from its end", func(c *bootCard) { c.put(inBoot, bootDevice[:10]+strings.Repeat("\x00", len(bootDevice)-10)) })
}

// A second file that nobody can read, UTF-16 without its mark, is no remainder of the
// first one: it stays, and is told.
func TestFirstbootKeepsWhatItCanNotRead(t *testing.T) {
	c := newCard(t, "")
	c.put(bootConfig, bootDevice)
	c.put(bootStamp, `{"sha256": "of the one before"}`)
	text := strings.Join(strings.Split(bootDevice, ""), "\x00") + "\x00"
	c.put(inBoot, text)
	c.starts(2).want(t, 2, "took one up already")
	if got := c.text(inBoot); got != text {
		t.Errorf("it is %q now", got)
	}
}

// A boot.yaml that an admin made is not replaced.
func TestFirstbootLeavesAnotherConfig(t *testing.T) {
	c := newCard(t, "")
	c.put(bootConfig, "agent: {id: mine}\n")
	c.put(inBoot, bootDevice)
	c.starts(2).want(t, 2, "of another origin")
	if got := c.text(bootConfig); got != "agent: {id: mine}\n" {
		t.Errorf("it is %q now", got)
	}
}

// Root reads no other file by it, nor wipes one.
func TestFirstbootOfALink(t *testing.T) {
	c := newCard(t, "")
	c.put("/elsewhere", bootDevice)
	if err := os.Symlink(c.root+"/elsewhere", c.root+inBoot); err != nil {
		t.Fatal(err)
	}
	c.starts(2).want(t, 2, "it is a link")
	if c.text(bootConfig) != "" || c.text("/elsewhere") != bootDevice {
		t.Errorf("it took %q and left %q", c.text(bootConfig), c.text("/elsewhere"))
	}
}

// Where the partition can't be wiped to the end the file is taken all the same, once,
// and that is told. Older systems mount it at /boot.
func TestFirstbootThatCannotWipe(t *testing.T) {
	c := newCard(t, "")
	c.put("/boot/fieldpost.yaml", bootDevice)
	if err := os.Mkdir(c.root+"/boot/fieldpost.yaml.taken", 0o755); err != nil { // stands in the note's way
		t.Fatal(err)
	}
	c.starts(0).want(t, 0, "can't be wiped")
	if c.text(bootConfig) != bootDevice {
		t.Error("it was not taken")
	}
	c.starts(0).want(t, 0, "was taken up before")
}
