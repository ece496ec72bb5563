package card

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tree is a file system with what the kernel of a board would show.
type tree struct {
	t    *testing.T
	root string
}

func newTree(t *testing.T, mounts string) *tree {
	tr := &tree{t, t.TempDir()}
	tr.file("proc/self/mountinfo", mounts)
	return tr
}

func (tr *tree) file(name, text string) {
	tr.t.Helper()
	path := filepath.Join(tr.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

// disk makes a device below /sys/devices, reached by its number.
func (tr *tree) disk(number, path string, files map[string]string) {
	tr.t.Helper()
	dir := filepath.Join("sys/devices", path)
	for name, text := range files {
		tr.file(filepath.Join(dir, name), text)
	}
	link := filepath.Join(tr.root, "sys/dev/block", number)
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(tr.root, dir), link); err != nil {
		tr.t.Fatal(err)
	}
}

const stat17 = " 1 2 3 4 5 6 %w 8 9 10 11 12 13 14 15 %f 170\n"

func stat(written, flushes string) string {
	return strings.NewReplacer("%w", written, "%f", flushes).Replace(stat17)
}

// TestFindCard: a Raspberry Pi's card, from the partition down.
func TestFindCard(t *testing.T) {
	tr := newTree(t, "20 1 0:5 / /proc rw - proc proc rw\n27 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw,errors=remount-ro\n"+
		"30 27 0:40 / /var/lib/with\\040space rw - tmpfs tmpfs rw,size=1k\n")
	tr.disk("179:0", "mmc/mmcblk0", map[string]string{
		"size": "62333952\n", "queue/write_cache": "write through\n", "queue/rotational": "0\n", "queue/fua": "0\n", "mq/0/x": "", "stat": stat("100", "7"),
		"device/type": "SD\n", "device/name": "SC32G\n", "device/manfid": "0x000003\n", "device/date": "03/2021\n",
	})
	tr.disk("179:2", "mmc/mmcblk0/mmcblk0p2", map[string]string{"size": "61808640\n", "partition": "2\n", "stat": stat("64", "0")})
	tr.file("proc/fs/jbd2/mmcblk0p2-8/info", "")

	p, err := (System{tr.root}).Find("/var/lib/fieldpost")
	if err != nil {
		t.Fatal(err)
	}
	if p.FS != "ext4" || p.Mount != "/" || !p.Has("noatime") || !p.Has("errors=remount-ro") || p.Journal == nil || !*p.Journal || len(p.Devices) != 2 {
		t.Fatalf("%+v", p)
	}
	part, disk := p.Devices[0], p.Devices[1]
	if part != p.Device() || part.Kind != Partition || part.CountsFlushes {
		t.Errorf("partition: %+v", part)
	}
	if disk.Kind != SDCard || disk.Model != "SC32G" || disk.Size != 62333952*512 || disk.About["manfid"] != "0x000003" || !disk.CountsFlushes {
		t.Errorf("card: %+v", disk)
	}
	c, err := part.Counters()
	if err != nil || c.Written != 64*512 {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = disk.Counters()
	if err != nil || c.Flushes != 7 || c.FlushTime != 170*time.Millisecond {
		t.Errorf("%+v, %v", c, err)
	}
	if v := Judge(p, nil); v.Answer != Honours || !v.Fine() {
		t.Errorf("%+v", v)
	}
	if p, err = (System{tr.root}).Find("/var/lib/with space/x"); err != nil || p.FS != "tmpfs" || p.Device() != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestFindStack: a loop on an encrypted partition, followed to its end; and an
// overlay, to the layer that takes the writes.
func TestFindStack(t *testing.T) {
	tr := newTree(t, "27 1 254:0 / / rw - ext4 /dev/mapper/root rw\n28 27 7:0 / /data rw - ext4 /dev/loop0 rw\n"+
		"29 27 0:50 / /merged rw - overlay overlay rw,lowerdir=/a,upperdir=/data/upper,workdir=/data/work\n"+
		"31 27 0:51 / /hidden rw - overlay overlay rw,lowerdir=/a,upperdir=/nowhere,workdir=/w\n")
	tr.file("data/upper/x", "")
	tr.disk("7:0", "virtual/block/loop0", map[string]string{"size": "10\n", "queue/write_cache": "write back\n", "loop/backing_file": "/img/disk\n", "stat": stat("1", "0"), "mq/0/x": ""})
	tr.disk("254:0", "virtual/block/dm-0", map[string]string{"size": "10\n", "queue/write_cache": "write back\n", "stat": stat("1", "0")})
	tr.disk("8:1", "usb1/block/sda/sda1", map[string]string{"partition": "1\n", "stat": stat("1", "0")})
	tr.disk("8:0", "usb1/block/sda", map[string]string{"queue/write_cache": "write back\n", "stat": stat("1", "0"), "mq/0/x": "", "device/model": "Stick\n"})
	slaves := filepath.Join(tr.root, "sys/devices/virtual/block/dm-0/slaves")
	if err := os.MkdirAll(slaves, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(tr.root, "sys/devices/usb1/block/sda/sda1"), filepath.Join(slaves, "sda1")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/data", "/merged/x"} {
		p, err := (System{tr.root}).Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, d := range p.Devices {
			kinds = append(kinds, string(d.Kind))
		}
		if got := strings.Join(kinds, ", "); got != "loop device, stacked device, partition, USB disk" {
			t.Errorf("%s: %s", dir, got)
		}
		if p.Devices[1].CountsFlushes || !p.Devices[3].CountsFlushes {
			t.Errorf("%s: who counts flushes: %+v", dir, p.Devices)
		}
	}
	p, err := (System{tr.root}).Find("/hidden")
	if err != nil || p.Device() != nil || Judge(p, nil).Answer != CantTell {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestJudge: each rule, and that the worst one counts.
func TestJudge(t *testing.T) {
	ms := func(n float64) *Timing {
		d := time.Duration(n * float64(time.Millisecond))
		return &Timing{Count: 100, P50: d, P99: d, Max: d, Total: 100 * d}
	}
	back := func(k Kind) *Device { return &Device{Name: "x", Kind: k, WriteCache: "write back"} }
	through := func(k Kind) *Device { return &Device{Name: "x", Kind: k, WriteCache: "write through"} }
	slow := func(took uint64) *Measures {
		return &Measures{Flush4k: ms(3), Direct: ms(1), Asked: 100, Taken: map[string]uint64{"x": took}}
	}
	no := false
	for _, c := range []struct {
		name  string
		place Place
		m     *Measures
		want  Answer
		fine  bool
		words string
	}{
		{"a good card", Place{FS: "ext4", Devices: []*Device{through(SDCard)}}, &Measures{Flush4k: ms(3), Direct: ms(3)}, Honours, true, "no cache to flush"},
		{"a good disk", Place{FS: "ext4", Devices: []*Device{back(Disk)}}, slow(100), Honours, true, "took 100 flushes"},
		{"flushes that get lost", Place{FS: "ext4", Devices: []*Device{back(Disk)}}, slow(0), DoesNot, false, "got none"},
		{"no barriers", Place{FS: "ext4", Mount: "/d", Options: []string{"rw", "nobarrier"}, Devices: []*Device{back(Disk)}}, slow(100), DoesNot, false, "nobarrier"},
		{"no barriers needed", Place{FS: "ext4", Options: []string{"barrier=0"}, Devices: []*Device{through(SDCard)}}, slow(0), CantTell, true, "barrier=0"},
		{"a card that is too quick", Place{FS: "ext4", Devices: []*Device{through(SDCard)}}, &Measures{Flush4k: ms(0.05)}, DoesNot, false, "less than flash needs"},
		{"a quick NVMe", Place{FS: "ext4", Devices: []*Device{through(NVMe)}}, &Measures{Flush4k: ms(0.05)}, CantTell, true, "power-loss protection"},
		{"a flush for nothing", Place{FS: "ext4", Devices: []*Device{back(Disk)}}, &Measures{Flush4k: ms(1), Direct: ms(2), Asked: 100, Taken: map[string]uint64{"x": 100}}, CantTell, true, "no longer than one without"},
		{"memory", Place{FS: "tmpfs"}, nil, DoesNot, false, "power cut leaves nothing"},
		{"an overlay in memory", Place{FS: "overlay", Upper: &Place{FS: "tmpfs"}}, nil, DoesNot, false, "power cut leaves nothing"},
		{"zram", Place{FS: "ext4", Devices: []*Device{through(RAM)}}, nil, DoesNot, false, "memory"},
		{"a server", Place{FS: "nfs4", NoDevice: "no block device is under a nfs4"}, nil, CantTell, true, "up to the server"},
		{"FAT", Place{FS: "vfat", Devices: []*Device{through(SDCard)}}, nil, Honours, false, "keeps no log"},
		{"ext4 without its log", Place{FS: "ext4", Source: "/dev/sda1", Journal: &no, Devices: []*Device{through(SDCard)}}, nil, Honours, false, "tune2fs -O has_journal /dev/sda1"},
		{"a liar", Place{FS: "ext4", Devices: []*Device{through(SDCard)}}, &Measures{ReadBack: "different"}, Honours, false, "reads back"},
		{"an old eMMC", Place{FS: "ext4", Devices: []*Device{{Name: "x", Kind: EMMC, WriteCache: "write through", About: map[string]string{"pre_eol_info": "0x03"}}}}, nil, Honours, false, "replace it now"},
	} {
		v := Judge(&c.place, c.m)
		text := ""
		for _, f := range append(v.Findings, v.Threats...) {
			text += f.Text + "; " + f.Cure + "\n"
		}
		if v.Answer != c.want || v.Fine() != c.fine || !strings.Contains(text, c.words) {
			t.Errorf("%s: %s, fine %v, want %s, %v, %q:\n%s", c.name, v.Answer, v.Fine(), c.want, c.fine, c.words, text)
		}
	}
}

// TestProbe: it measures all, here, and leaves nothing.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	place, err := System{}.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	m, err := (&Probe{Dir: dir, Place: place, Quick: true, Progress: func(string) { seen++ }}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Flush4k.Count == 0 || m.Flush64k.Count == 0 || m.Flush256k.Count == 0 || m.Busy.Count == 0 || m.NewFile.Count == 0 || m.Sequential <= 0 ||
		!strings.HasPrefix(m.ReadBack, "same") || seen != len(steps()) {
		t.Errorf("%+v", m)
	}
	if f := m.Flush4k; f.P50 <= 0 || f.P50 > f.P99 || f.P99 > f.Max || f.PerSecond() <= 0 {
		t.Errorf("%+v", f)
	}
	if m.Written < 4<<20 || m.Written > 16<<20 {
		t.Errorf("it wrote %d bytes", m.Written)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestProbeStops: a cancelled context ends it with its cause, and nothing is left.
func TestProbeStops(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	calls := 0
	p := &Probe{Dir: dir, Place: &Place{}, Quick: true, Progress: func(string) {
		if calls++; calls == 3 {
			cancel(why)
		}
	}}
	if _, err := p.Run(ctx); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 || calls != 3 {
		t.Errorf("left: %v, %v after %d steps", left, err, calls)
	}
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]Counters{
		"1 2 3 4 5 6 10 8 9 10 11":                       {Written: 5120},
		"1 2 3 4 5 6 10 8 9 10 11 12 13 14 15 16 17":     {Written: 5120, Flushes: 16, FlushTime: 17 * time.Millisecond},
		" 1 2 3 4 5 6 4294967297 8 9 10 11 12 13 14 15 ": {Written: 4294967297 * 512},
	} {
		if got, err := parseStat(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "1 2 3", "1 2 3 4 5 6 x 8 9 10 11", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 x 17"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestOwnWrites(t *testing.T) {
	tr := newTree(t, "")
	tr.file("proc/self/io", "rchar: 1\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n")
	if n, err := (System{tr.root}).OwnWrites(); err != nil || n != 4096 {
		t.Errorf("%d, %v", n, err)
	}
	tr.file("proc/self/io", "rchar: 1\n")
	if _, err := (System{tr.root}).OwnWrites(); err == nil {
		t.Error("a kernel that does not count was believed")
	}
}
