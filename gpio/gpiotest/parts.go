package gpiotest

import (
	"encoding/binary"
	"math"
)

// BME280 is a Bosch BME280 (BST-BME280-DS002): registers, forced mode, status.
type BME280 struct {
	I2CPart
	Busy   int // how often the status says that it measures; less than 0: for ever
	Resets int // how often it was reset: then it loads its calibration, until it is asked once

	data    [8]byte
	left    int
	loading bool
}

// BMECalibration are dig_T1 to dig_P9 of the worked example in Bosch's data sheet of the
// BMP280 (BST-BMP280-DS001 rev. 1.19, section 3.12), as words.
var BMECalibration = [12]int{27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000}

// NewBME280 makes one that measures what that example does, 25.08 °C and 1006.53 hPa, and
// about half of the humidity that there can be. An id of 0x58 makes it a BMP280.
func NewBME280(id byte) *BME280 {
	p := &BME280{Busy: 1}
	p.Poke(0xd0, id)
	for i, w := range BMECalibration {
		p.Poke(0x88+2*i, byte(w), byte(w>>8))
	}
	if id == 0x60 {
		// H1 75; H2 362, H3 0, H4 313, H5 50, H6 30: those of a part as they are sold.
		p.Poke(0xa1, 75)
		p.Poke(0xe1, 0x6a, 0x01, 0, 0x13, 0x29, 0x03, 30)
	}
	p.Measures(519888, 415148, 0x6b00)
	p.unmeasured()
	p.Wrote = p.wrote
	p.Reads = func(reg int) {
		switch {
		case reg != 0xf3:
		case p.loading:
			p.loading = false
		default:
			p.Mem[0xf3] &^= 1
			p.status()
		}
	}
	return p
}

// Measures sets the raw values of the next measurement: 20 bits of temperature and
// pressure, 16 of humidity.
func (p *BME280) Measures(t, press uint32, hum uint16) {
	p.mem.Lock()
	defer p.mem.Unlock()
	p.data = [8]byte{byte(press >> 12), byte(press >> 4), byte(press << 4), byte(t >> 12), byte(t >> 4), byte(t << 4), byte(hum >> 8), byte(hum)}
}

func (p *BME280) unmeasured() { copy(p.Mem[0xf7:], []byte{0x80, 0, 0, 0x80, 0, 0, 0x80, 0}) }

func (p *BME280) wrote(reg int) {
	switch {
	case reg == 0xe0 && p.Mem[0xe0] == 0xb6:
		p.Resets++
		p.Mem[0xf3], p.loading = 1, true
		p.unmeasured()
		p.left, p.Mem[0xf2], p.Mem[0xf4], p.Mem[0xf5], p.Mem[0xe0] = 0, 0, 0, 0, 0
	case reg == 0xf4 && p.Mem[0xf4]&3 == 1:
		p.left = p.Busy
		p.Mem[0xf3] |= 1 << 3
	}
}

// status is asked for.
func (p *BME280) status() {
	if p.left != 0 {
		p.left--
		return
	}
	if p.Mem[0xf3]&(1<<3) == 0 {
		return
	}
	p.Mem[0xf3] &^= 1 << 3
	p.Mem[0xf4] &^= 3
	p.unmeasured()
	copy(p.Mem[0xf7:], p.data[:6])
	if p.Mem[0xf2]&7 != 0 {
		copy(p.Mem[0xfd:], p.data[6:])
	}
}

// ADS1115 is a TI ADS1115 (SBAS444D): a conversion that takes its time, and until then
// the result of the one before.
type ADS1115 struct {
	I2CPart
	Busy int // how often the config says that it converts; less than 0: for ever

	inputs [4]float64
	left   int
}

// NewADS1115 makes one with 1 V at its first input.
func NewADS1115() *ADS1115 {
	p := &ADS1115{Busy: 1, inputs: [4]float64{1}}
	p.Width = 2
	p.Poke(1, 0x85, 0x83, 0x80, 0x00, 0x7f, 0xff)
	p.Wrote = func(reg int) {
		if reg == 1 && p.Mem[2]&0x80 != 0 {
			p.Mem[2] &^= 0x80
			p.left = p.Busy
		}
	}
	p.Reads = func(reg int) {
		switch {
		case reg != 1 || p.Mem[2]&0x80 != 0:
		case p.left != 0:
			p.left--
		default:
			p.Mem[2] |= 0x80
			binary.BigEndian.PutUint16(p.Mem[:], uint16(p.code(binary.BigEndian.Uint16(p.Mem[2:]))))
		}
	}
	return p
}

// Input sets the voltage at an input.
func (p *ADS1115) Input(n int, volts float64) {
	p.mem.Lock()
	defer p.mem.Unlock()
	p.inputs[n] = volts
}

// code converts, with the multiplexer and the amplifier as config says.
func (p *ADS1115) code(config uint16) int16 {
	v := p.inputs
	in := [8]float64{v[0] - v[1], v[0] - v[3], v[1] - v[3], v[2] - v[3], v[0], v[1], v[2], v[3]}[config>>12&7]
	full := [8]float64{6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256}[config>>9&7]
	return int16(max(math.MinInt16, min(math.MaxInt16, math.Round(in/full*32768))))
}

// MCP3008 answers as a Microchip MCP3008 does (DS21295D, figure 6-1). Inputs are codes of
// ten bits. Where it drives nothing the line is high.
func MCP3008(inputs *[8]uint16) func(w, r []byte) {
	return func(w, r []byte) {
		if len(w) != 3 || w[0] != 1 || w[1]&0x80 == 0 {
			return
		}
		code := inputs[w[1]>>4&7]
		r[1], r[2] = 0xf8|byte(code>>8)&3, byte(code)
	}
}

// MCP23017 is a Microchip MCP23017 (DS20001952D). Its registers are those of
// IOCON.BANK = 0.
type MCP23017 struct {
	I2CPart
	Banks bool // IOCON.BANK is 1: nothing can be written before IOCON, which is at 0x05 then

	driven [16]*bool
}

// NewMCP23017 makes one as it is after power-on.
func NewMCP23017() *MCP23017 {
	p := &MCP23017{}
	p.Reset()
	p.Ignore = func(reg int) bool {
		if p.Banks {
			p.Banks = reg != 0x05
			return true
		}
		return reg >= 0x0e && reg <= 0x11
	}
	p.Wrote = func(reg int) {
		switch {
		case reg == 0x0a || reg == 0x0b: // one register at two addresses
			p.Mem[0x0a], p.Mem[0x0b] = p.Mem[reg], p.Mem[reg]
		case reg == 0x12 || reg == 0x13:
			p.Mem[reg+2] = p.Mem[reg]
		}
	}
	p.Reads = func(reg int) {
		if reg == 0x12 || reg == 0x13 {
			p.Mem[reg] = p.port(reg-0x12) ^ p.Mem[0x02+reg-0x12]
		}
	}
	return p
}

// Reset is a loss of power: all lines are inputs.
func (p *MCP23017) Reset() {
	p.mem.Lock()
	defer p.mem.Unlock()
	p.Mem = [len(p.Mem)]byte{0xff, 0xff}
}

// Drive holds a line, 0 to 15, at a level from outside.
func (p *MCP23017) Drive(line int, level bool) {
	p.mem.Lock()
	defer p.mem.Unlock()
	p.driven[line] = &level
}

// Level is the level of a line.
func (p *MCP23017) Level(line int) bool {
	p.mem.Lock()
	defer p.mem.Unlock()
	return p.port(line/8)>>(line%8)&1 == 1
}

// Output reports whether a line is driven by the part.
func (p *MCP23017) Output(line int) bool {
	return p.Peek(line/8, 1)[0]>>(line%8)&1 == 0
}

// port is the levels of a port's lines.
func (p *MCP23017) port(port int) (levels byte) {
	dir, pull, latch := p.Mem[port], p.Mem[0x0c+port], p.Mem[0x14+port]
	for bit := range 8 {
		on := latch>>bit&1 == 1
		if dir>>bit&1 == 1 {
			on = pull>>bit&1 == 1
			if d := p.driven[port*8+bit]; d != nil {
				on = *d
			}
		}
		if on {
			levels |= 1 << bit
		}
	}
	return levels
}
