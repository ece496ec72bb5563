package gpio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// TestModbusFrames: the worked examples of the documents.
func TestModbusFrames(t *testing.T) {
	// Serial Line V1.02, 6.2.2: the CRC of 02 07 is 1241, sent low byte first.
	if crc := crc16([]byte{0x02, 0x07}); crc != 0x1241 {
		t.Errorf("%04x", crc)
	}
	// Application Protocol V1.1b3, 6.3: holding registers 108 to 110, whose addresses are 107 to 109.
	r := modbusRequest{unit: 0x11, function: readHolding, address: 107, quantity: 3}
	if got := r.rtuFrame(); !bytes.Equal(got, []byte{0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87}) {
		t.Errorf("% x", got)
	}
	if got := r.tcpFrame(0x1501); !bytes.Equal(got, []byte{0x15, 0x01, 0, 0, 0, 6, 0x11, 3, 0, 0x6B, 0, 3}) {
		t.Errorf("% x", got)
	}
	data, err := r.answer([]byte{0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64})
	if err != nil || !bytes.Equal(data, []byte{0x02, 0x2B, 0, 0, 0, 0x64}) {
		t.Errorf("% x, %v", data, err)
	}
	// 6.1: coils 20 to 38 are 19 bits in 3 bytes.
	if n := (modbusRequest{function: readCoils, quantity: 19}).size(); n != 3 {
		t.Error(n)
	}
	// 7: an exception, and one that the document has not.
	_, err = r.answer([]byte{0x83, 0x02})
	if want := ModbusException(2); !errors.Is(err, want) || err.Error() != "illegal data address (exception 2)" {
		t.Error(err)
	}
	if _, err = r.answer([]byte{0x83, 0x63}); err == nil || err.Error() != "unknown (exception 99)" {
		t.Error(err)
	}
	for _, pdu := range [][]byte{nil, {3}, {0x83}, {0x84, 2}, {4, 6, 0, 0, 0, 0, 0, 0}, {3, 5, 0, 0, 0, 0, 0}, {3, 6, 0, 0}} {
		if _, err := r.answer(pdu); !errors.Is(err, errModbusGarbage) {
			t.Errorf("% x: %v", pdu, err)
		}
	}
}

// TestModbusBlame: what is wrong with an answer is told.
func TestModbusBlame(t *testing.T) {
	r := modbusRequest{unit: 1, function: readInput, address: 0, quantity: 1}
	good := []byte{1, 4, 2, 0xFF, 0xFF, 0xB8, 0x80}
	if pdu, _ := r.rtuFind(good); !bytes.Equal(pdu, good[1:5]) {
		t.Errorf("% x", pdu)
	}
	other := binary.LittleEndian.AppendUint16([]byte{2, 4, 2, 0, 1}, crc16([]byte{2, 4, 2, 0, 1}))
	for _, c := range []struct {
		in   []byte
		want string
	}{
		{nil, "no answer"},
		{r.rtuFrame(), "no answer"},
		{good[:4], "it is cut short, 4 bytes of 7"},
		{[]byte{1, 4, 2, 0xFF, 0xFE, 0xB8, 0x80}, "its CRC is wrong (01 04 02 ff fe b8 80)"},
		{[]byte{1, 0x84, 2, 0, 0}, "its CRC is wrong"},
		{other, "it is of unit 2"},
		{[]byte{0xde, 0xad}, "what came is no answer: de ad"},
	} {
		if err := r.rtuBlame(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("% x: %v", c.in, err)
		}
		if pdu, _ := r.rtuFind(c.in); pdu != nil {
			t.Errorf("% x is taken for an answer", c.in)
		}
	}
}

// FuzzModbusRTU: whatever comes, what is taken for an answer has the right unit,
// function, size and CRC, and a good frame is found behind anything that has no head
// of ours in it.
func FuzzModbusRTU(f *testing.F) {
	f.Add([]byte{1, 4, 2, 0xFF, 0xFF, 0xB8, 0x80}, byte(1), byte(4), uint16(1))
	f.Add([]byte{1, 0x84, 2, 0xc2, 0xc1}, byte(1), byte(4), uint16(1))
	f.Add([]byte{0, 0xff, 1, 1, 1, 1, 0x90, 0x48}, byte(1), byte(1), uint16(1))
	f.Fuzz(func(t *testing.T, in []byte, unit, function byte, quantity uint16) {
		r := modbusRequest{unit: unit, function: 1 + function%4, quantity: 1 + quantity%4}
		pdu, begun := r.rtuFind(in)
		if pdu != nil {
			frame := append([]byte{unit}, pdu...)
			frame = binary.LittleEndian.AppendUint16(frame, crc16(frame))
			if !begun || !bytes.Contains(in, frame) {
				t.Errorf("% x is not in % x", frame, in)
			}
			if data, err := r.answer(pdu); err == nil && len(data) != r.size() {
				t.Errorf("% x", data)
			}
		} else if r.rtuBlame(in) == nil {
			t.Error("nothing is wrong with it")
		}
		if begun {
			return
		}
		good := append([]byte{unit, r.function, byte(r.size())}, make([]byte, r.size())...)
		good = binary.LittleEndian.AppendUint16(good, crc16(good))
		if pdu, _ := r.rtuFind(append(bytes.Clone(in), good...)); pdu == nil {
			t.Errorf("% x is not found behind % x", good, in)
		}
	})
}

// FuzzModbusTCP: whatever comes in whatever parts, what is taken for an answer is of
// the right transaction and unit, and nothing over a frame is kept.
func FuzzModbusTCP(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 5, 1, 4, 2, 0, 7}, uint16(1), byte(1))
	f.Add([]byte{0, 1, 0, 0, 0, 3, 1, 0x84, 2, 0, 2, 0, 0, 0, 5, 1, 4, 2, 0, 7}, uint16(2), byte(1))
	f.Add([]byte{0, 1, 0, 9, 0, 1}, uint16(1), byte(0))
	f.Fuzz(func(t *testing.T, in []byte, transaction uint16, unit byte) {
		r := modbusRequest{unit: unit, function: readInput, quantity: 1}
		pdu, rest, err := r.tcpFind(in, transaction)
		if pdu != nil {
			head := binary.BigEndian.AppendUint16(nil, transaction)
			head = append(append(head, 0, 0, 0, byte(1+len(pdu))), unit)
			if !bytes.Contains(in, append(head, pdu...)) || err != nil || len(pdu) == 0 || len(pdu) > maxPDU {
				t.Errorf("% x is not in % x", pdu, in)
			}
			_, _ = r.answer(pdu)
		}
		if pdu == nil && err == nil && len(rest) > 6+1+maxPDU {
			t.Errorf("%d bytes are kept", len(rest))
		}
		var part []byte
		for i := range in {
			got, left, bad := r.tcpFind(append(part, in[i]), transaction)
			part = bytes.Clone(left)
			if got != nil || bad != nil {
				if !bytes.Equal(got, pdu) || (bad == nil) != (err == nil) {
					t.Errorf("byte by byte: % x, %v; at once: % x, %v", got, bad, pdu, err)
				}
				return
			}
		}
		if pdu != nil || err != nil {
			t.Errorf("only at once: % x, %v", pdu, err)
		}
	})
}
