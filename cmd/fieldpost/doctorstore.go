package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"fieldpost/edge/card"
)

func clockCheck(_ context.Context, p *patient) []symptom {
	if p.board.Adjtimex == nil {
		return nil // told
	}
	synced, bound, err := p.board.Adjtimex()
	switch {
	case err != nil:
		return one(ailing, "the clock can't be asked: "+err.Error(), "")
	case !synced:
		return one(notable, "the clock is not synchronised: events are told as unsynced, and corrected when it is",
			"timedatectl shows why; a board without a network keeps time with a clock module (dtoverlay=i2c-rtc)")
	}
	return one(healthy, fmt.Sprintf("synchronised, within %.3f s", bound.Seconds()), "")
}

// dataDir is the folder of the store, or the nearest above it that exists.
func (p *patient) dataDir() string {
	if p.config == nil {
		return ""
	}
	dir := p.config.DataDir
	for {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return dir
		}
		dir = up
	}
}

// fewInodes is how many files a disk must be able to take yet.
const fewInodes = 1000

func diskCheck(_ context.Context, p *patient) []symptom {
	dir := p.dataDir()
	if dir == "" {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return one(ailing, fmt.Sprintf("the disk of %s can't be asked: %v", dir, err), "")
	}
	free, size := int64(st.Bavail)*int64(st.Bsize), int64(st.Blocks)*int64(st.Bsize)
	headroom := headroomOf(int64(p.config.Store.Headroom), size)
	text := fmt.Sprintf("%s: %s free of %s, %d files", dir, bytesText(free), bytesText(size), st.Ffree)
	const cure = "make room, or bound store.rings: the oldest events go meanwhile"
	switch {
	case free < headroom:
		return one(ailing, text+": less than the headroom of "+bytesText(headroom), cure)
	case st.Files > 0 && st.Ffree < fewInodes:
		return one(ailing, text+": hardly any file can be made", cure)
	}
	return one(healthy, text, "")
}

// headroomOf is the free space that a store keeps on a file system, as the store
// finds it; set is what the config says, 0 nothing.
func headroomOf(set, size int64) int64 {
	if set != 0 {
		return max(set, 0)
	}
	return min(200e6, size/10)
}

func cardCheck(_ context.Context, p *patient) []symptom {
	dir := p.dataDir()
	if dir == "" {
		return nil
	}
	place, err := card.System{Root: p.root}.Find(dir)
	if err != nil {
		return one(notable, "what is under "+dir+" can't be seen: "+err.Error(), "")
	}
	text := place.FS + " on " + place.Mount
	if d := place.Device(); d != nil {
		text += ", " + deviceText(place.Devices[len(place.Devices)-1])
	}
	found := one(healthy, text+"; fieldpost selftest store --dir "+dir+" measures it", "")
	if place.FS == "overlay" {
		found = append(found, symptom{Health: ailing, Text: "the root is an overlay: what is stored is gone at the next power cut",
			Cure: "sudo raspi-config, Performance, Overlay File System: off; or mount a card or disk for data_dir itself"})
	}
	if place.Has("ro") {
		found = append(found, symptom{Health: ailing, Text: place.Mount + " is mounted read-only: nothing can be stored",
			Cure: "dmesg says why; after errors replace the card, else: sudo mount -o remount,rw " + place.Mount})
	}
	v := card.Judge(place, nil)
	for _, f := range append(v.Findings, v.Threats...) {
		h := notable
		if f.Answer == card.DoesNot {
			h = ailing
		}
		if f.Answer == card.Honours {
			h = healthy
		}
		found = append(found, symptom{Health: h, Text: strings.TrimSpace(f.Text), Cure: f.Cure})
	}
	return found
}
