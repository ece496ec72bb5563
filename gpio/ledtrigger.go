package gpio

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// noTrigger is what the kernel says of an LED that nothing but us blinks.
const noTrigger = "none"

// ledBefore is what a named LED showed before it was ours.
type ledBefore struct {
	Boot       string `json:"boot"`
	LED        string `json:"led"` // its folder's name
	Trigger    string `json:"trigger"`
	Brightness string `json:"brightness,omitempty"` // where it had no trigger
}

// take switches the LED's trigger off, and remembers it.
func (l *LED) take(ctx context.Context, dir string) error {
	triggers, err := l.files.Read(ctx, filepath.Join(dir, "trigger"))
	if err != nil {
		return err
	}
	was := ledBefore{Boot: l.opt.Boot, LED: filepath.Base(dir), Trigger: activeTrigger(triggers)}
	old, noted := l.note()
	if noted && old.LED != was.LED {
		l.PutBack(ctx)
		noted = false
	}
	switch {
	case was.Trigger != noTrigger:
	case noted:
		was = old // an earlier process switched it off, and died
	default:
		was.Brightness, _ = l.files.Read(ctx, filepath.Join(dir, "brightness")) // dark is as good
	}
	if !noted || old != was {
		if err := l.keep(was); err != nil {
			l.warn("note what the LED showed: a crash would leave it dark until the next boot", err)
		}
	}
	l.was = was
	if err := l.files.Write(ctx, filepath.Join(dir, "trigger"), noTrigger); err != nil {
		if !noted {
			l.forget() // it still has its trigger
		}
		return err
	}
	err = l.files.Write(ctx, filepath.Join(dir, "brightness"), "0")
	if err != nil {
		_ = l.giveBack(ctx, dir, was) // the note stays where this fails, too
	}
	return err
}

// giveBack lets an LED show what it did. The note goes when that worked.
func (l *LED) giveBack(ctx context.Context, dir string, was ledBefore) error {
	file, text := "trigger", was.Trigger
	if was.Trigger == noTrigger {
		file, text = "brightness", was.Brightness
		if text == "" {
			text = "0"
		}
	}
	if err := l.files.Write(ctx, filepath.Join(dir, file), text); err != nil {
		return err
	}
	l.forget()
	return nil
}

// PutBack gives back an LED that an earlier process of this boot had, and died with.
// What can't be given back is told in the log alone: nothing needs it.
func (l *LED) PutBack(ctx context.Context) {
	was, noted := l.note()
	if !noted {
		return
	}
	if err := l.giveBack(ctx, l.root.path("sys/class/leds/"+filepath.Base(was.LED)), was); err != nil {
		l.warn("give an LED back to the kernel", err)
	}
}

// note reads what an earlier process of this boot noted. Another boot's is worth nothing:
// the kernel set each LED anew.
func (l *LED) note() (was ledBefore, ok bool) {
	raw, err := os.ReadFile(l.opt.Note)
	if err != nil || json.Unmarshal(raw, &was) != nil {
		return ledBefore{}, false
	}
	return was, was.Boot == l.opt.Boot && was.LED != "" && was.Trigger != ""
}

// keep notes what the LED showed. It asks for no flush: after a power cut it is another
// boot, and the note worth nothing.
func (l *LED) keep(was ledBefore) error {
	raw, err := json.Marshal(was)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.opt.Note+".new", append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(l.opt.Note+".new", l.opt.Note)
}

func (l *LED) forget() {
	if err := os.Remove(l.opt.Note); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.warn("forget what the LED showed", err)
	}
}

// activeTrigger is the one in brackets: "none [mmc0] timer" has mmc0.
func activeTrigger(list string) string {
	_, after, _ := strings.Cut(list, "[")
	name, _, ok := strings.Cut(after, "]")
	if !ok || name == "" {
		return noTrigger
	}
	return name
}
