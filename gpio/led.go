package gpio

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
)

// ledTwins are the names of one LED on a Raspberry Pi: the kernel called them led0 and
// led1 until 6.1 (raspberrypi/linux, arch/arm/boot/dts/bcm2708-rpi.dtsi).
var ledTwins = [][2]string{{"ACT", "led0"}, {"PWR", "led1"}}

// LEDOptions say which light the agent shows how it is with. Name or Pin is needed.
type LEDOptions struct {
	Name      string   // a folder of /sys/class/leds
	Pin       edge.Pin // an LED on a line
	ActiveLow bool     // of a line: a low voltage lights it
	Note      string   // the file that remembers what the kernel showed on a named LED
	Boot      string   // the boot id, which a note is good for
}

// LED is a light: a named one of the kernel's (Linux's Documentation/leds/leds-class.rst
// and ABI/testing/sysfs-class-led), or one on a line. One goroutine uses it. The error of
// each method wraps edge.ErrAbsent where the light is not there.
//
// A named LED has a trigger, such as mmc0, which blinks it for the kernel. It is off while
// the LED is open, and back after Close. A process that was killed does not put it back:
// a note beside the store says what it was, and the next Open in the same boot takes it
// from there, since the kernel itself says none then. The next boot sets it anew.
type LED struct {
	opt   LEDOptions
	open  func(edge.Pin, LineConfig) (Line, error)
	files *KernelFiles
	root  tree
	warn  func(text string, err error)

	line Line      // of a pin; nil while it is closed
	dir  string    // of a named one; "" while it is closed
	full string    // the brightness when it is lit
	was  ledBefore // of a named one
}

// LED makes the light; nothing is touched before Open.
func (s *Source) LED(opt LEDOptions) *LED {
	return &LED{opt: opt, root: tree(s.opt.Root), files: s.buses.kernelFiles("LED", "led"),
		open: func(pin edge.Pin, cfg LineConfig) (Line, error) { return s.ownLine("led", pin, cfg) },
		warn: func(text string, err error) { s.opt.Log.Warn(text, "err", err) }}
}

// Open takes the light, dark. It may block for as long as a file of the kernel's does,
// 10 s at most.
func (l *LED) Open(ctx context.Context) (err error) {
	if l.opt.Name == "" {
		l.PutBack(ctx)
		l.line, err = l.open(l.opt.Pin, LineConfig{Output: true, ActiveLow: l.opt.ActiveLow})
		return err
	}
	dir, err := FindLED(string(l.root), l.opt.Name)
	if err != nil {
		return err
	}
	l.full = "255"
	if most, err := l.files.Read(ctx, filepath.Join(dir, "max_brightness")); err == nil {
		l.full = most
	}
	if err := l.take(ctx, dir); err != nil {
		return ledError(err)
	}
	l.dir = dir
	return nil
}

// Light lights it, or not. It is open.
func (l *LED) Light(ctx context.Context, on bool) error {
	if l.line != nil {
		_, err := l.line.Set(on)
		return err
	}
	level := "0"
	if on {
		level = l.full
	}
	return ledError(l.files.Write(ctx, filepath.Join(l.dir, "brightness"), level))
}

// Close leaves a line dark and released, and gives a named LED back to the kernel as
// Open found it. A second one does nothing.
func (l *LED) Close(ctx context.Context) error {
	switch {
	case l.line != nil:
		_, err := l.line.Set(false)
		err = errors.Join(err, l.line.Close())
		l.line = nil
		return err
	case l.dir != "":
		dir := l.dir
		l.dir = ""
		return ledError(l.giveBack(ctx, dir, l.was))
	}
	return nil
}

// FindLED gives the folder of one of the kernel's LEDs, by the name that this or another
// kernel has for it. Root is where sys is: "/" on a machine. The error wraps
// edge.ErrAbsent, and names those that there are.
func FindLED(root, led string) (string, error) {
	t := tree(root)
	var all []string
	for _, dir := range t.glob("sys/class/leds/*") {
		all = append(all, filepath.Base(dir))
	}
	names := []string{led}
	for _, twins := range ledTwins {
		if i := slices.Index(twins[:], led); i >= 0 {
			names = append(names, twins[1-i])
		}
	}
	for _, name := range names {
		if slices.Contains(all, name) {
			return t.path("sys/class/leds/" + name), nil
		}
	}
	what := "find LED " + led
	for _, name := range all {
		if strings.EqualFold(name, led) {
			return "", absentError(what+", did you mean "+name+"?", nil)
		}
	}
	if len(all) == 0 {
		return "", absentError(what, fmt.Errorf("the kernel shows none below %s", t.path("sys/class/leds")))
	}
	return "", absentError(what+", there is "+strings.Join(all, ", "), nil)
}

// ledError says how to get an LED that can't be written.
func ledError(err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: a udev rule has to give its files brightness and trigger to the group gpio, as the package's 60-fieldpost.rules does for ACT and PWR", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: the agent's unit may write below /sys/devices/platform alone, more takes ReadWritePaths= in a drop-in", err)
	}
	return err
}
