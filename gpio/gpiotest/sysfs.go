package gpiotest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"fieldpost/gpio"
)

// Sysfs reads and writes the small files of a bench as the kernel would, with a failure
// dial for each. Files are named as Bench.Write names them, below Root.
type Sysfs struct {
	root string

	mu    sync.Mutex
	dials map[string]*dial
	log   []string // writes
}

// dial is what a file does.
type dial struct {
	answers []answer // what the next calls give; then the file itself does
	always  *answer
	hang    chan struct{} // closed: it goes on
	calls   int
}

type answer struct {
	text string
	err  error
}

// NewSysfs makes one over a folder.
func NewSysfs(root string) *Sysfs {
	return &Sysfs{root: root, dials: map[string]*dial{}}
}

// Files is what a Source takes.
func (s *Sysfs) Files() gpio.Files { return gpio.Files{Read: s.read, Write: s.write} }

// Fail makes the next calls of a file fail, in order; a nil error lets one through.
func (s *Sysfs) Fail(name string, errs ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range errs {
		s.dial(name).answers = append(s.dial(name).answers, answer{err: err})
	}
}

// FailAlways makes all calls of a file fail until err is nil.
func (s *Sysfs) FailAlways(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dial(name).always = nil
	if err != nil {
		s.dial(name).always = &answer{err: err}
	}
}

// Answer makes the next reads of a file give these texts, in order.
func (s *Sysfs) Answer(name string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		s.dial(name).answers = append(s.dial(name).answers, answer{text: text})
	}
}

// Hang makes calls of a file hang, as in a kernel that waits for a part, until release.
func (s *Sysfs) Hang(name string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hang := make(chan struct{})
	s.dial(name).hang = hang
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dial(name).hang = nil
		close(hang)
	})
}

// Calls is how often a file was read or written.
func (s *Sysfs) Calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dial(name).calls
}

// Writes gives what was written since the last call, as "name=text", by the files' last
// names.
func (s *Sysfs) Writes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.log, " ")
	s.log = nil
	return all
}

// dial is that of a file. The caller holds s.mu.
func (s *Sysfs) dial(name string) *dial {
	file := s.real(filepath.Join(s.root, name))
	if s.dials[file] == nil {
		s.dials[file] = &dial{}
	}
	return s.dials[file]
}

// real is a file's path without links, whether it is there or not.
func (s *Sysfs) real(file string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return file
	}
	return filepath.Join(dir, filepath.Base(file))
}

// next is what a call of a file gives; nil: what the file itself does.
func (s *Sysfs) next(file string) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dials[s.real(file)]
	if d == nil {
		d = &dial{}
		s.dials[s.real(file)] = d
	}
	d.calls++
	if hang := d.hang; hang != nil {
		s.mu.Unlock()
		<-hang
		s.mu.Lock()
	}
	if len(d.answers) == 0 {
		return d.always
	}
	a := d.answers[0]
	d.answers = d.answers[1:]
	if a == (answer{}) {
		return nil
	}
	return &a
}

func (s *Sysfs) read(file string) (string, error) {
	if a := s.next(file); a != nil {
		return strings.TrimSpace(a.text), a.err
	}
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}

func (s *Sysfs) write(file, text string) error {
	if a := s.next(file); a != nil {
		return a.err
	}
	if _, err := os.Stat(file); err != nil {
		return err
	}
	s.mu.Lock()
	s.log = append(s.log, filepath.Base(file)+"="+text)
	s.mu.Unlock()
	if ok, err := writeLED(file, text); ok {
		return err
	}
	if err := pwmRules(file, text); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text+"\n"), 0o600)
}

// pwmRules are those of the kernel's drivers/pwm/sysfs.c and core.c: which channel
// there is, and what a state of one may be.
func pwmRules(file, text string) error {
	dir, name := filepath.Dir(file), filepath.Base(file)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return unix.EINVAL
	}
	channel := filepath.Join(dir, "pwm"+text)
	switch name {
	case "export":
		if n < 0 || n >= fileNumber(filepath.Join(dir, "npwm")) {
			return unix.ENODEV
		}
		if os.Mkdir(channel, 0o700) != nil {
			return unix.EBUSY
		}
		for _, f := range []string{"period", "duty_cycle", "enable"} {
			if err := os.WriteFile(filepath.Join(channel, f), []byte("0\n"), 0o600); err != nil {
				return err
			}
		}
	case "unexport":
		if _, err := os.Stat(channel); err != nil {
			return unix.ENODEV
		}
		return os.RemoveAll(channel)
	case "period":
		if n <= 0 || n < fileNumber(filepath.Join(dir, "duty_cycle")) {
			return unix.EINVAL
		}
	case "duty_cycle":
		if n < 0 || n > fileNumber(filepath.Join(dir, "period")) || fileNumber(filepath.Join(dir, "period")) == 0 {
			return unix.EINVAL
		}
	case "enable":
		if n == 1 && fileNumber(filepath.Join(dir, "period")) == 0 {
			return unix.EINVAL
		}
	}
	return nil
}

func fileNumber(file string) int64 {
	b, _ := os.ReadFile(file) // 0 where it is not there
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// Link puts a link below Root, to a target below Root.
func (b *Bench) Link(t testing.TB, name, target string) {
	t.Helper()
	file := filepath.Join(b.Root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(b.Root, target), file); err != nil {
		t.Fatal(err)
	}
}

// Remove takes a file or a folder below Root away.
func (b *Bench) Remove(t testing.TB, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(b.Root, name)); err != nil {
		t.Fatal(err)
	}
}

// Plug puts a device of a class there as sysfs has it: the files in a folder below
// sys/devices, and a link to it in the class.
func (b *Bench) Plug(t testing.TB, class, device string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		b.Write(t, filepath.Join("sys/devices", device, name), text)
	}
	b.Link(t, filepath.Join(class, filepath.Base(device)), filepath.Join("sys/devices", device))
}

// PlugPWM puts a PWM block there.
func (b *Bench) PlugPWM(t testing.TB, device, chip string, channels int) {
	t.Helper()
	b.Plug(t, "sys/class/pwm", device+"/pwm/"+chip, map[string]string{"npwm": strconv.Itoa(channels), "export": "", "unexport": ""})
	b.Link(t, "sys/devices/"+device+"/pwm/"+chip+"/device", "sys/devices/"+device)
}

// plugSensors puts one of each there, for the drivers' examples.
func (b *Bench) plugSensors(t testing.TB) {
	t.Helper()
	b.Plug(t, "sys/class/hwmon", "platform/soc/i2c-1/1-0048/hwmon/hwmon0", map[string]string{"name": "lm75\n", "temp1_input": "21500\n"})
	b.Plug(t, "sys/bus/w1/devices", "w1_bus_master1", map[string]string{"w1_master_slave_count": "1\n"})
	b.Plug(t, "sys/bus/w1/devices", "w1_bus_master1/28-0316a2794fff", map[string]string{"temperature": "19812\n"})
	b.Plug(t, "sys/bus/iio/devices", "platform/soc/i2c-1/1-0076/iio:device0", map[string]string{"name": "bmp280\n", "in_pressure_input": "101.325000\n", "in_temp_input": "21370\n"})
	b.Plug(t, "sys/bus/iio/devices", "platform/dht11@4/iio:device1", map[string]string{"name": "dht11@4\n", "in_temp_input": "18600\n", "in_humidityrelative_input": "61200\n",
		"of_node/compatible": "dht11\x00", "of_node/gpios": "\x00\x00\x00\x07\x00\x00\x00\x04\x00\x00\x00\x00"})
	b.PlugPWM(t, "platform/soc/fe20c000.pwm", "pwmchip0", 2)
}
