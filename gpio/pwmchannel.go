package gpio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fieldpost/edge"
)

// pwmBlock is a PWM block of a board and the header lines that its overlays give it.
type pwmBlock struct {
	device string // how its device's name ends: the address is the board's, the offset the chip's
	lines  []int  // BCM numbers
	on     []int  // their channels
}

// pwmBlocks are those of raspberrypi/linux: pwm@7e20c000 of Pi 0 to 4 (its overlay
// pwm-2chan; "BCM2835 ARM Peripherals", 9.5) and PWM0 of the Pi 5's RP1 at 0x40098000
// ("RP1 Peripherals", function select: PWM0[0] to PWM0[3]). The number of the pwmchip is
// the kernel's own affair and was 0 and 2 for the same block (raspberrypi/linux#6818).
var pwmBlocks = []pwmBlock{
	{"20c000.pwm", []int{12, 13, 18, 19}, []int{0, 1, 0, 1}},
	{"1f00098000.pwm", []int{12, 13, 18, 19}, []int{0, 1, 2, 3}},
}

// checkPWMPin refuses a line that no board has a PWM on.
func checkPWMPin(pin edge.Pin) error {
	n, ok := pin.Number()
	if !ok {
		dev, ch, _ := strings.Cut(string(pin), "/")
		if c, err := strconv.Atoi(ch); dev == "" || err != nil || c < 0 {
			return fmt.Errorf("pwm %q: it is GPIO12, GPIO13, GPIO18 or GPIO19, or a device and its channel like fe20c000.pwm/0", pin)
		}
		return nil
	}
	var lines []string
	for _, b := range pwmBlocks {
		for _, line := range b.lines {
			if line == n {
				return nil
			}
			if name := lineName(line); line >= 0 && !slices.Contains(lines, name) {
				lines = append(lines, name)
			}
		}
	}
	return errors.New("pwm: " + string(pin) + " has no hardware PWM, " + strings.Join(lines, ", ") + " have")
}

// How long the files of a channel may be closed to us: udev opens them to the group
// after they came.
const (
	pwmOpens    = 2 * time.Second
	pwmOpensAsk = 50 * time.Millisecond
)

// pwmChannel is a channel in sysfs (kernel Documentation/driver-api/pwm.rst and
// ABI/testing/sysfs-class-pwm).
type pwmChannel struct {
	files    *KernelFiles
	chip     string // its folder: pwmchip0
	number   int
	period   int64
	exported bool // by us
	enabled  bool
}

func (c *pwmChannel) file(name string) string {
	return filepath.Join(c.chip, "pwm"+strconv.Itoa(c.number), name)
}

// open finds the channel and makes the kernel show it.
func (d *pwm) open(ctx context.Context) (*pwmChannel, error) {
	chip, device, number := d.find()
	if chip == "" {
		return nil, absentError(fmt.Sprintf("find the PWM of %s below sys/class/pwm, dtoverlay=pwm in config.txt turns it on", d.cfg.Pin), nil)
	}
	c := &pwmChannel{files: d.env.Files(fmt.Sprintf("PWM channel %d of %s", number, device)), chip: chip, number: number}
	if err := c.files.Take(); err != nil {
		return nil, err
	}
	if err := c.export(ctx); err != nil {
		c.files.Release()
		return nil, err
	}
	return c, nil
}

// find gives the chip's folder, its device, and the channel; "" where there is none.
func (d *pwm) find() (chip, device string, number int) {
	line, isLine := d.cfg.Pin.Number()
	named, channel, _ := strings.Cut(string(d.cfg.Pin), "/")
	for _, dir := range tree(d.env.Root).glob("sys/class/pwm/pwmchip*") {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
		if err != nil {
			continue
		}
		device = filepath.Base(real)
		if !isLine {
			if device == named {
				number, _ = strconv.Atoi(channel) // New checked it
				return dir, device, number
			}
			continue
		}
		for _, b := range pwmBlocks {
			for i, l := range b.lines {
				if l == line && strings.HasSuffix(device, b.device) {
					return dir, device, b.on[i]
				}
			}
		}
	}
	return "", "", 0
}

// export makes the kernel show the channel. A run before may have left it shown.
func (c *pwmChannel) export(ctx context.Context) error {
	if _, err := os.Stat(c.file("period")); err == nil {
		return nil
	}
	err := c.files.Write(ctx, filepath.Join(c.chip, "export"), strconv.Itoa(c.number))
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: the kernel uses the channel itself, for a fan or for audio", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: a udev rule has to give it to the group gpio, as Raspberry Pi OS and the package do", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: the agent's unit needs ReadWritePaths=/sys/devices/platform", err)
	case err != nil:
		return err
	}
	c.exported = true
	return nil
}

// setUp gives the channel its period, and tells the duty cycle that it had, in %. The
// kernel refuses a duty cycle that is longer than the period, so it goes first.
func (c *pwmChannel) setUp(ctx context.Context, period int64) (float64, error) {
	var had, duty, on float64
	for _, f := range []struct {
		name string
		into *float64
	}{{"period", &had}, {"duty_cycle", &duty}, {"enable", &on}} {
		v, err := c.files.Number(ctx, c.file(f.name))
		if err != nil {
			return 0, err
		}
		*f.into = v
	}
	c.period, c.enabled = period, on != 0
	if had != float64(period) {
		if duty > 0 {
			if err := c.write(ctx, "duty_cycle", 0); err != nil {
				return 0, err
			}
		}
		if err := c.write(ctx, "period", period); err != nil {
			return 0, fmt.Errorf("%w: the board may not make %d ns", err, period)
		}
	}
	if had <= 0 || on == 0 {
		return 0, nil
	}
	return math.Round(1e4*duty/had) / 100, nil
}

// set gives the channel a duty cycle in %. At 0 it is switched off too.
func (c *pwmChannel) set(ctx context.Context, percent float64) error {
	duty := dutyOf(c.period, percent)
	if err := c.write(ctx, "duty_cycle", duty); err != nil {
		return err
	}
	on := duty > 0
	if on == c.enabled {
		return nil
	}
	n := int64(0)
	if on {
		n = 1
	}
	if err := c.write(ctx, "enable", n); err != nil {
		return err
	}
	c.enabled = on
	return nil
}

// dutyOf is the time in ns that a duty cycle in % is of a period.
func dutyOf(period int64, percent float64) int64 {
	return int64(math.Round(float64(period) * percent / 100))
}

// giveBack hides the channel again, where we made the kernel show it.
func (c *pwmChannel) giveBack(ctx context.Context) error {
	if !c.exported {
		return nil
	}
	return c.files.Write(ctx, filepath.Join(c.chip, "unexport"), strconv.Itoa(c.number))
}

// write writes a number. Files that are not ours yet are waited for.
func (c *pwmChannel) write(ctx context.Context, name string, n int64) error {
	for until := time.Now().Add(pwmOpens); ; {
		err := c.files.Write(ctx, c.file(name), strconv.FormatInt(n, 10))
		if !errors.Is(err, unix.EACCES) || !c.exported || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		pause(ctx, pwmOpensAsk)
	}
}
