package gpio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The frames of Modbus: Application Protocol V1.1b3 (what is asked and answered),
// Messaging on TCP/IP V1.0b (the header on TCP), Serial Line V1.02 (RTU: unit, PDU and
// a CRC).

// The functions that read (V1.1b3, 6.1 to 6.4).
const (
	readCoils    = 1
	readDiscrete = 2
	readHolding  = 3
	readInput    = 4

	exceptionBit = 0x80
)

// The sizes of frames.
const (
	mbapHead   = 7   // transaction 2, protocol 2, length 2, unit 1
	maxPDU     = 253 // V1.1b3, 4.1
	maxRTUSeen = 1024
)

// ModbusException is a unit's refusal (V1.1b3, 7).
type ModbusException byte

// exceptionNames are the document's words.
var exceptionNames = map[ModbusException]string{
	1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "server device failure", 5: "acknowledge",
	6: "server device busy", 8: "memory parity error", 10: "gateway path unavailable", 11: "gateway target device failed to respond",
}

// Error names the exception and its code.
func (e ModbusException) Error() string {
	name := exceptionNames[e]
	if name == "" {
		name = "unknown"
	}
	return fmt.Sprintf("%s (exception %d)", name, byte(e))
}

// Why an answer is none.
var (
	errModbusSilent  = errors.New("no answer")
	errModbusGarbage = errors.New("what came is no answer")
)

// modbusRequest asks a unit for bits or registers.
type modbusRequest struct {
	unit     byte
	function byte
	address  uint16
	quantity uint16
}

// pdu is the request without the frame around it.
func (r modbusRequest) pdu() []byte {
	b := []byte{r.function}
	b = binary.BigEndian.AppendUint16(b, r.address)
	return binary.BigEndian.AppendUint16(b, r.quantity)
}

// size is the number of data bytes of the answer.
func (r modbusRequest) size() int {
	if r.function == readCoils || r.function == readDiscrete {
		return (int(r.quantity) + 7) / 8
	}
	return 2 * int(r.quantity)
}

// answer takes the data out of the PDU of an answer.
func (r modbusRequest) answer(pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) == 2 && pdu[0] == r.function|exceptionBit:
		return nil, ModbusException(pdu[1])
	case len(pdu) < 2 || pdu[0] != r.function:
		return nil, fmt.Errorf("%w: it is of another function (% .8x)", errModbusGarbage, pdu)
	case int(pdu[1]) != r.size() || len(pdu) != 2+r.size():
		return nil, fmt.Errorf("%w: it has %d bytes of data in %d, want %d", errModbusGarbage, pdu[1], len(pdu), r.size())
	}
	return pdu[2:], nil
}

// rtuFrame is the request on a serial line.
func (r modbusRequest) rtuFrame() []byte {
	b := append([]byte{r.unit}, r.pdu()...)
	return binary.LittleEndian.AppendUint16(b, crc16(b))
}

// crc16 is the CRC of Serial Line V1.02, 6.2.2.
func crc16(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc&1 != 0
			crc >>= 1
			if odd {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// rtuFind looks for the answer in what came on a serial line since the request was
// sent. What is before or around it does not matter: an echo of the request, the byte
// that a line makes when its driver turns around, an answer of another unit. begun
// reports that the head of an answer of ours was seen.
func (r modbusRequest) rtuFind(in []byte) (pdu []byte, begun bool) {
	in = bytes.TrimPrefix(in, r.rtuFrame())
	for ; len(in) >= 3; in = in[1:] {
		n := 0
		switch {
		case in[0] != r.unit:
			continue
		case in[1] == r.function|exceptionBit:
			n = 5
		case in[1] == r.function && int(in[2]) == r.size():
			n = 5 + r.size()
		default:
			continue
		}
		begun = true
		if len(in) >= n && crc16(in[:n-2]) == binary.LittleEndian.Uint16(in[n-2:]) {
			return in[1 : n-2], true
		}
	}
	return nil, begun
}

// rtuBlame says what was wrong with what came, where rtuFind found nothing in it.
func (r modbusRequest) rtuBlame(in []byte) error {
	in = bytes.TrimPrefix(in, r.rtuFrame())
	if len(in) == 0 {
		return errModbusSilent
	}
	n := 5 + r.size()
	if len(in) > 1 && in[1]&exceptionBit != 0 {
		n = 5
	}
	switch {
	case len(in) > 2 && in[0] != r.unit && crc16(in[:len(in)-2]) == binary.LittleEndian.Uint16(in[len(in)-2:]):
		return fmt.Errorf("%w: it is of unit %d", errModbusGarbage, in[0])
	case in[0] == r.unit && len(in) < n:
		return fmt.Errorf("%w: it is cut short, %d bytes of %d", errModbusGarbage, len(in), n)
	case in[0] == r.unit:
		return fmt.Errorf("%w: its CRC is wrong (% .16x)", errModbusGarbage, in)
	}
	return fmt.Errorf("%w: % .16x", errModbusGarbage, in)
}

// tcpFrame is the request on TCP.
func (r modbusRequest) tcpFrame(transaction uint16) []byte {
	pdu := r.pdu()
	b := binary.BigEndian.AppendUint16(nil, transaction)
	b = append(b, 0, 0) // the protocol: Modbus
	b = binary.BigEndian.AppendUint16(b, uint16(1+len(pdu)))
	return append(append(b, r.unit), pdu...)
}

// tcpFind takes the answer to one transaction from the front of what came, and leaves
// out those of earlier ones. rest is what was not used; a nil pdu without an error
// means that more must come. After an error nothing behind it can be trusted, unless
// it is the unit that is another.
func (r modbusRequest) tcpFind(in []byte, transaction uint16) (pdu, rest []byte, err error) {
	for len(in) >= mbapHead {
		length := int(binary.BigEndian.Uint16(in[4:]))
		if in[2] != 0 || in[3] != 0 || length < 2 || length > 1+maxPDU {
			return nil, nil, fmt.Errorf("%w: % .8x is no Modbus header", errModbusGarbage, in)
		}
		end := 6 + length
		if len(in) < end {
			break
		}
		frame := in[:end]
		in = in[end:]
		switch {
		case binary.BigEndian.Uint16(frame) != transaction:
			continue // its request was given up
		case frame[6] != r.unit:
			return nil, in, fmt.Errorf("%w: it is of unit %d", errModbusGarbage, frame[6])
		}
		return frame[mbapHead:], in, nil
	}
	return nil, in, nil
}
