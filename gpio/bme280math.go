package gpio

import (
	"encoding/binary"
	"fmt"
)

// bmeCalibrationBytes are the two runs of registers with the calibration: from 0x88
// and, with humidity, from 0xe1 on (BST-BME280-DS002 rev. 1.6, table 16).
type bmeCalibrationBytes struct {
	first  [26]byte
	second [7]byte
}

// check finds what no part has: nothing in it, or a run of ones, which is what a part
// leaves that broke off.
func (b *bmeCalibrationBytes) check(humid bool) error {
	words := b.first[:24]
	for i := 0; i+4 <= len(words); i += 2 {
		if binary.LittleEndian.Uint32(words[i:]) == 0xffffffff {
			return fmt.Errorf("it broke off after %d bytes", i)
		}
	}
	for _, i := range []int{0, 2, 6} { // T1, T2 and P1
		if w := binary.LittleEndian.Uint16(words[i:]); w == 0 || w == 0xffff {
			return fmt.Errorf("word 0x%02x is 0x%04x", 0x88+i, w)
		}
	}
	if !humid {
		return nil
	}
	if b.second == [7]byte{} || b.second[5] == 0xff && b.second[6] == 0xff {
		return fmt.Errorf("that of humidity is % x", b.second)
	}
	return nil
}

// calibration gives the words their places.
func (b *bmeCalibrationBytes) calibration() (c bmeCalibration) {
	word := func(i int) float64 { return float64(int16(binary.LittleEndian.Uint16(b.first[i:]))) }
	c.t = [4]float64{1: float64(binary.LittleEndian.Uint16(b.first[0:])), 2: word(2), 3: word(4)}
	c.p[1] = float64(binary.LittleEndian.Uint16(b.first[6:]))
	for i := 2; i <= 9; i++ {
		c.p[i] = word(4 + 2*i)
	}
	h := b.second
	c.h = [7]float64{
		1: float64(b.first[25]),
		2: float64(int16(binary.LittleEndian.Uint16(h[0:]))),
		3: float64(h[2]),
		4: float64(int16(int8(h[3]))<<4 | int16(h[4]&0x0f)), // both are signed, of 12 bits
		5: float64(int16(int8(h[5]))<<4 | int16(h[4]>>4)),
		6: float64(int8(h[6])),
	}
	return c
}

// bmeCalibration are the data sheet's dig_T1 to dig_H6, by their numbers.
type bmeCalibration struct {
	t [4]float64
	p [10]float64
	h [7]float64
}

// The formulas are those of section 8.1, in double precision.

// fine is the temperature in 1/5120 °C, which the others need.
func (c *bmeCalibration) fine(raw float64) float64 {
	a := (raw/16384 - c.t[1]/1024) * c.t[2]
	b := raw/131072 - c.t[1]/8192
	return a + b*b*c.t[3]
}

// pressure is in Pa; 0 where the calibration makes no sense of it.
func (c *bmeCalibration) pressure(raw, fine float64) float64 {
	a := fine/2 - 64000
	b := a * a * c.p[6] / 32768
	b += a * c.p[5] * 2
	b = b/4 + c.p[4]*65536
	a = (c.p[3]*a*a/524288 + c.p[2]*a) / 524288
	a = (1 + a/32768) * c.p[1]
	if a == 0 {
		return 0
	}
	p := (1048576 - raw - b/4096) * 6250 / a
	a = c.p[9] * p * p / 2147483648
	b = p * c.p[8] / 32768
	return p + (a+b+c.p[7])/16
}

// humidity is in %, from 0 to 100.
func (c *bmeCalibration) humidity(raw, fine float64) float64 {
	h := fine - 76800
	h = (raw - (c.h[4]*64 + c.h[5]/16384*h)) *
		(c.h[2] / 65536 * (1 + c.h[6]/67108864*h*(1+c.h[3]/67108864*h)))
	h *= 1 - c.h[1]*h/524288
	return min(100, max(0, h))
}
