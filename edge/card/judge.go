package card

import (
	"fmt"
	"slices"
	"time"
)

// Answer is what can be said of a flush. A later one outweighs those before it.
type Answer int

// The answers.
const (
	Honours  Answer = iota // nothing speaks against it
	CantTell               // software does not see enough
	DoesNot                // what is flushed can be lost
)

// answers are the words.
var answers = [...]string{
	Honours:  "honours a flush, as far as software can tell",
	CantTell: "can't tell whether it honours a flush",
	DoesNot:  "does not honour a flush",
}

func (a Answer) String() string { return answers[a] }

// MarshalText gives one word, for programs.
func (a Answer) MarshalText() ([]byte, error) {
	return []byte([...]string{Honours: "honours", CantTell: "unknown", DoesNot: "does-not"}[a]), nil
}

// Finding is one thing that was seen, with its cure where there is one.
type Finding struct {
	Answer Answer `json:"answer"` // what it says of a flush
	Text   string `json:"text"`
	Cure   string `json:"cure,omitempty"`
}

// Verdict is what is made of all findings.
type Verdict struct {
	Answer   Answer    `json:"answer"`
	Findings []Finding `json:"findings"`
	Threats  []Finding `json:"threats"` // what else can cost the data
}

// Fine reports whether nothing threatens what is stored, as far as it was seen.
func (v Verdict) Fine() bool { return v.Answer != DoesNot && len(v.Threats) == 0 }

// tooFast is the least time in which flash can hold a block: a page of it takes
// 200 us and more to program.
const tooFast = 100 * time.Microsecond

// minAsked is how many flushes must have been asked for to say that none came.
const minAsked = 10

// Judge makes a verdict of a place and what was measured there. m may be nil.
func Judge(p *Place, m *Measures) Verdict {
	v := Verdict{Findings: []Finding{}, Threats: threats(p, m)}
	for _, rule := range []func(*Place, *Measures) []Finding{ram, unseen, barriers, caches, counted, timed, cheap} {
		v.Findings = append(v.Findings, rule(p, m)...)
	}
	for _, f := range v.Findings {
		v.Answer = max(v.Answer, f.Answer)
	}
	slices.SortStableFunc(v.Findings, func(a, b Finding) int { return int(b.Answer - a.Answer) })
	return v
}

// ram: storage that ends with the power.
func ram(p *Place, _ *Measures) []Finding {
	const cure = "put data_dir on a card or a disk"
	for at := p; at != nil; at = at.Upper {
		if at.FS == "tmpfs" || at.FS == "ramfs" {
			return []Finding{{DoesNot, "it is a " + at.FS + ": memory, of which a power cut leaves nothing", cure}}
		}
	}
	for _, d := range p.Devices {
		if d.Kind == RAM {
			return []Finding{{DoesNot, d.Name + " is memory, of which a power cut leaves nothing", cure}}
		}
	}
	return nil
}

// unseen: no device is known.
func unseen(p *Place, m *Measures) []Finding {
	if len(p.Devices) > 0 || len(ram(p, m)) > 0 {
		return nil
	}
	f := Finding{CantTell, p.NoDevice, "put data_dir on a local ext4 to know"}
	switch p.FS {
	case "nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "fuse.sshfs", "ceph", "glusterfs":
		f.Text += ": what a flush is worth is up to the server"
	case "overlay":
		f.Cure = "mount a card or disk for data_dir itself; an overlay that Raspberry Pi OS sets up is memory and ends with the power"
	}
	return []Finding{f}
}

// cached are the devices that say they have a cache to flush.
func cached(p *Place) (out []*Device) {
	for _, d := range p.Devices {
		if d.WriteCache == "write back" {
			out = append(out, d)
		}
	}
	return out
}

// barriers: a mount that sends no flushes, over a device that needs them.
func barriers(p *Place, _ *Measures) []Finding {
	for _, o := range []string{"nobarrier", "barrier=0", "barrier=none"} {
		if !p.Has(o) {
			continue
		}
		cure := fmt.Sprintf("take %s out of the options of %s, in /etc/fstab", o, p.Mount)
		if devs := cached(p); len(devs) > 0 {
			return []Finding{{DoesNot, fmt.Sprintf("%s is mounted with %s, so nothing flushes the cache of %s", p.Mount, o, devs[0].Name), cure}}
		}
		return []Finding{{CantTell, fmt.Sprintf("%s is mounted with %s", p.Mount, o), cure}}
	}
	return nil
}

// caches: what each device says of its cache.
func caches(p *Place, _ *Measures) (out []Finding) {
	for _, d := range p.Devices {
		switch {
		case d.Kind == Partition:
		case d.WriteCache == "write through":
			out = append(out, Finding{Answer: Honours, Text: d.Name + " says that it has no cache to flush: a write is answered when it is kept"})
		case d.WriteCache == "":
			out = append(out, Finding{Answer: CantTell, Text: d.Name + " does not say whether it has a cache to flush"})
		}
		if d.Kind == Virtual {
			out = append(out, Finding{Answer: Honours, Text: d.Name + " is a virtual disk: what a flush is worth is up to its host"})
		}
	}
	return out
}

// counted: whether flushes reached the devices that need them.
func counted(p *Place, m *Measures) (out []Finding) {
	if m == nil {
		return nil
	}
	for _, d := range cached(p) {
		took, known := m.Taken[d.Name]
		switch {
		case !known:
		case took == 0 && m.Asked >= minAsked:
			out = append(out, Finding{DoesNot, fmt.Sprintf("%d flushes were asked for and %s, which has a cache, got none", m.Asked, d.Name),
				"look for what drops them: a mount option, a layer in between, libeatmydata"})
		case took > 0:
			out = append(out, Finding{Answer: Honours, Text: fmt.Sprintf("%s has a cache and took %d flushes while %d were asked for", d.Name, took, m.Asked)})
		}
	}
	return out
}

// timed: a flush that is quicker than flash.
func timed(p *Place, m *Measures) []Finding {
	if m == nil || m.Flush4k == nil || m.Flush4k.Count == 0 || m.Flush4k.P50 >= tooFast || len(p.Devices) == 0 {
		return nil
	}
	last := p.Devices[len(p.Devices)-1]
	f := Finding{CantTell, fmt.Sprintf("a flush takes %v, less than flash needs: %s probably answers before it is kept", m.Flush4k.P50.Round(time.Microsecond), last.Name),
		"only a disk with power-loss protection may do that; cut its power under load to know"}
	switch last.Kind {
	case SDCard, EMMC, USBDisk:
		f.Answer, f.Cure = DoesNot, "buy a card whose maker states power-loss protection (industrial, SLC or pSLC)"
	}
	return []Finding{f}
}

// cheap: a flush that costs nothing, where there is a cache to flush.
func cheap(p *Place, m *Measures) []Finding {
	devs := cached(p)
	if m == nil || m.Flush4k == nil || m.Direct == nil || m.Direct.Count == 0 || len(devs) == 0 || m.Flush4k.P50 >= m.Direct.P50 {
		return nil
	}
	return []Finding{{Answer: CantTell, Text: fmt.Sprintf("a write with a flush (%v) takes no longer than one without (%v), though %s has a cache to flush",
		m.Flush4k.P50.Round(time.Microsecond), m.Direct.P50.Round(time.Microsecond), devs[0].Name)}}
}

// threats: what can cost the data beside a flush that is none.
func threats(p *Place, m *Measures) []Finding {
	out := []Finding{}
	switch p.FS {
	case "vfat", "exfat", "msdos":
		out = append(out, Finding{CantTell, p.FS + " keeps no log of its own changes: a power cut can take files and folders", "put data_dir on ext4"})
	}
	if p.Journal != nil && !*p.Journal {
		out = append(out, Finding{CantTell, "this " + p.FS + " has no log of its own changes: a power cut can take files and folders",
			"unmount it and run: tune2fs -O has_journal " + p.Source})
	}
	if m != nil && m.ReadBack == "different" {
		out = append(out, Finding{DoesNot, "what was flushed reads back as something else", "replace the card: it is broken, or its size is a lie"})
	}
	for _, d := range p.Devices {
		switch d.About["pre_eol_info"] {
		case "0x02":
			out = append(out, Finding{CantTell, d.Name + " says that 80 % of its spare blocks are used up", "replace it soon"})
		case "0x03":
			out = append(out, Finding{CantTell, d.Name + " says that 90 % of its spare blocks are used up", "replace it now"})
		}
	}
	return out
}
