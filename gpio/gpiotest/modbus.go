package gpiotest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// ModbusFault is what goes wrong with one answer.
type ModbusFault string

// The faults.
const (
	FaultSilent    ModbusFault = "silent"    // no answer
	FaultLate      ModbusFault = "late"      // the answer comes 1.5 s later
	FaultCRC       ModbusFault = "crc"       // RTU: one bit of the data is another
	FaultShort     ModbusFault = "short"     // the last 3 bytes do not come
	FaultOther     ModbusFault = "other"     // it is of the next unit
	FaultGarbage   ModbusFault = "garbage"   // noise in place of the answer
	FaultNoise     ModbusFault = "noise"     // noise before the answer
	FaultReset     ModbusFault = "reset"     // the connection ends
	FaultException ModbusFault = "exception" // illegal data address
)

// ModbusUnits are all units of a Modbus line or network: each has the same registers.
// What it has not is an illegal data address.
type ModbusUnits struct {
	Holding, Input  map[uint16]uint16
	Coil, Discrete  map[uint16]bool
	Echo            bool // the line gives back what is sent, and the unit is slow
	mu              sync.Mutex
	faults          []ModbusFault
	asked, connects int
}

// Fail has the next answers go wrong; "" is a good one.
func (m *ModbusUnits) Fail(faults ...ModbusFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = faults
}

// SetCoil sets a coil while the units run.
func (m *ModbusUnits) SetCoil(address uint16, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Coil[address] = on
}

// Asked gives how many requests and connections there were.
func (m *ModbusUnits) Asked() (requests, connects int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked, m.connects
}

func (m *ModbusUnits) next() (f ModbusFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if len(m.faults) > 0 {
		f, m.faults = m.faults[0], m.faults[1:]
	}
	return f
}

// TCP answers on a connection.
func (m *ModbusUnits) TCP(c net.Conn) {
	m.mu.Lock()
	m.connects++
	m.mu.Unlock()
	head := make([]byte, 12)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		f := m.next()
		pdu := m.answer(f, head[7:])
		out := append([]byte{head[0], head[1], 0, 0, 0, byte(1 + len(pdu)), head[6]}, pdu...)
		if f == FaultOther {
			out[6]++
		}
		if !send(c, f, out) {
			return
		}
	}
}

// RTU answers on a serial line.
func (m *ModbusUnits) RTU(c net.Conn) {
	req := make([]byte, 8)
	for {
		if _, err := io.ReadFull(c, req); err != nil {
			return
		}
		f := m.next()
		if m.Echo {
			if _, err := c.Write(req); err != nil {
				return
			}
			<-time.After(300 * time.Millisecond) // the unit thinks
		}
		out := []byte{req[0]}
		if f == FaultOther {
			out[0]++
		}
		out = append(out, m.answer(f, req[1:6])...)
		out = binary.LittleEndian.AppendUint16(out, crc(out))
		if f == FaultCRC {
			out[3] ^= 0x10
		}
		if !send(c, f, out) {
			return
		}
	}
}

// send writes an answer with its fault. It is false where the connection ends.
func send(c net.Conn, f ModbusFault, out []byte) bool {
	switch f {
	case FaultSilent:
		return true
	case FaultReset:
		return false
	case FaultLate:
		go func() {
			<-time.After(1500 * time.Millisecond)
			_, _ = c.Write(out) // nobody may listen any more
		}()
		return true
	case FaultShort:
		out = out[:len(out)-3]
	case FaultGarbage:
		out = []byte{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3, 4}
	case FaultNoise:
		out = append([]byte{0x00, 0xff}, out...)
	}
	for len(out) > 0 { // in two parts, as a slow line does
		n := (len(out) + 1) / 2
		if _, err := c.Write(out[:n]); err != nil {
			return false
		}
		out = out[n:]
	}
	return true
}

// answer is the PDU of the answer to that of a request.
func (m *ModbusUnits) answer(f ModbusFault, req []byte) []byte {
	address, quantity := binary.BigEndian.Uint16(req[1:]), binary.BigEndian.Uint16(req[3:])
	if f == FaultException {
		return []byte{req[0] | 0x80, 2}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var data []byte
	bits := map[byte]map[uint16]bool{1: m.Coil, 2: m.Discrete}[req[0]]
	if bits != nil {
		data = make([]byte, (quantity+7)/8)
	}
	for i := range quantity {
		if bits != nil {
			if bits[address+i] {
				data[i/8] |= 1 << (i % 8)
			}
			continue
		}
		v, ok := map[byte]map[uint16]uint16{3: m.Holding, 4: m.Input}[req[0]][address+i]
		if !ok {
			return []byte{req[0] | 0x80, 2}
		}
		data = binary.BigEndian.AppendUint16(data, v)
	}
	return append([]byte{req[0], byte(len(data))}, data...)
}

// crc is the CRC of Modbus over Serial Line V1.02, 6.2.2, written down a second time.
func crc(b []byte) uint16 {
	var reg uint32 = 0xFFFF
	for _, c := range b {
		reg ^= uint32(c)
		for i := 0; i < 8; i++ {
			reg = reg>>1 ^ 0xA001*(reg&1)
		}
	}
	return uint16(reg)
}
