package gpio

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestModbusTwoLateAnswers: a unit that is always late answers the second try of a
// request with the first try's answer, and so owes one more, which is not another
// request's.
func TestModbusTwoLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go func() { // its registers have their own addresses in them
			for req := make([]byte, 8); ; {
				if _, err := io.ReadFull(there, req); err != nil {
					return
				}
				out := []byte{req[0], req[1], 2, req[2], req[3]}
				out = binary.LittleEndian.AppendUint16(out, crc16(out))
				time.AfterFunc(1500*time.Millisecond, func() { _, _ = there.Write(out) })
			}
		}()
		l := &modbusLink{name: "line", serial: true, mode: serialMode(), turn: make(chan struct{}, 1),
			open: func(context.Context) (SerialPort, error) { return here, nil }}
		for _, address := range []uint16{7, 9, 7, 8} {
			r := modbusRequest{unit: 1, function: readHolding, address: address, quantity: 1}
			data, err := l.ask(t.Context(), "a", r, time.Second)
			if err != nil || binary.BigEndian.Uint16(data) != address {
				t.Errorf("register %d: % x, %v", address, data, err)
			}
		}
		l.drop()
		there.Close()
		<-time.After(2 * time.Second)
	})
}
