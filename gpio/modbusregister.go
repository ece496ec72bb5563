package gpio

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ModbusTable is one of the four tables of a unit (Modbus Application Protocol V1.1b3,
// 4.3).
type ModbusTable string

// The tables.
const (
	Holding  ModbusTable = "holding"
	Input    ModbusTable = "input"
	Coil     ModbusTable = "coil"
	Discrete ModbusTable = "discrete"
)

// ModbusRegister is where a value is, as the config has it: "input 30775", "holding
// 0x28", "coil 3", "discrete 5", or a number alone, which is a holding register. The
// address is the one on the wire, 0 to 65535.
type ModbusRegister struct {
	Table   ModbusTable
	Address uint16
	set     bool
}

// MarshalText gives the config's words.
func (r ModbusRegister) MarshalText() ([]byte, error) {
	if !r.set {
		return nil, nil
	}
	return fmt.Appendf(nil, "%s %d", r.Table, r.Address), nil
}

// UnmarshalText reads the config's words.
func (r *ModbusRegister) UnmarshalText(b []byte) error {
	words := strings.Fields(strings.ToLower(string(b)))
	if len(words) == 1 {
		words = []string{string(Holding), words[0]}
	}
	bad := fmt.Errorf("register %q: it is input, holding, coil or discrete and an address from 0 to 65535, like  input 30775", b)
	if len(words) != 2 {
		return bad
	}
	switch t := ModbusTable(words[0]); t {
	case Holding, Input, Coil, Discrete:
		n, err := strconv.ParseUint(words[1], 0, 16)
		if err != nil {
			return bad
		}
		*r = ModbusRegister{t, uint16(n), true}
		return nil
	}
	return bad
}

// bits reports whether the table has bits, not registers.
func (r ModbusRegister) bits() bool { return r.Table == Coil || r.Table == Discrete }

// function is the one that reads the table.
func (r ModbusRegister) function() byte {
	switch r.Table {
	case Coil:
		return readCoils
	case Discrete:
		return readDiscrete
	case Input:
		return readInput
	}
	return readHolding
}

// ModbusType is how registers are read as a number.
type ModbusType string

// The types.
const (
	TypeBool    ModbusType = "bool"
	TypeUint16  ModbusType = "uint16"
	TypeInt16   ModbusType = "int16"
	TypeUint32  ModbusType = "uint32"
	TypeInt32   ModbusType = "int32"
	TypeFloat32 ModbusType = "float32"
	TypeUint64  ModbusType = "uint64"
	TypeInt64   ModbusType = "int64"
	TypeFloat64 ModbusType = "float64"
)

// MarshalText gives the config's word.
func (t ModbusType) MarshalText() ([]byte, error) { return []byte(t), nil }

// UnmarshalText reads the config's word.
func (t *ModbusType) UnmarshalText(b []byte) error {
	v := ModbusType(strings.ToLower(string(b)))
	if v.registers() == 0 {
		return fmt.Errorf("type %q: it is bool, uint16, int16, uint32, int32, float32, uint64, int64 or float64", b)
	}
	*t = v
	return nil
}

// registers is how many of them, or bits, a value takes; 0 where there is no such type.
func (t ModbusType) registers() int {
	switch t {
	case TypeBool, TypeUint16, TypeInt16:
		return 1
	case TypeUint32, TypeInt32, TypeFloat32:
		return 2
	case TypeUint64, TypeInt64, TypeFloat64:
		return 4
	}
	return 0
}

// value reads the bytes of as many registers, the high one first.
func (t ModbusType) value(b []byte) float64 {
	switch t {
	case TypeInt16:
		return float64(int16(binary.BigEndian.Uint16(b)))
	case TypeUint32:
		return float64(binary.BigEndian.Uint32(b))
	case TypeInt32:
		return float64(int32(binary.BigEndian.Uint32(b)))
	case TypeFloat32:
		// As the decimal that the unit meant: 21.3, not 21.299999237060547.
		f := math.Float32frombits(binary.BigEndian.Uint32(b))
		v, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
		if err != nil {
			return float64(f)
		}
		return v
	case TypeUint64:
		return float64(binary.BigEndian.Uint64(b))
	case TypeInt64:
		return float64(int64(binary.BigEndian.Uint64(b)))
	case TypeFloat64:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return float64(binary.BigEndian.Uint16(b))
}

// WordOrder is which register of a value of several comes first.
type WordOrder string

// The orders. The document has the high one first; many units do it the other way.
const (
	HighFirst WordOrder = "high_first"
	LowFirst  WordOrder = "low_first"
)

// MarshalText gives the config's word.
func (o WordOrder) MarshalText() ([]byte, error) { return []byte(o), nil }

// UnmarshalText reads the config's word.
func (o *WordOrder) UnmarshalText(b []byte) error {
	switch v := WordOrder(strings.ToLower(string(b))); v {
	case HighFirst, LowFirst:
		*o = v
		return nil
	}
	return fmt.Errorf("words %q: it is high_first or low_first", b)
}

// order gives registers with the high one first.
func (o WordOrder) order(b []byte) []byte {
	if o != LowFirst {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := len(b) - 2; i >= 0; i -= 2 {
		out = append(out, b[i], b[i+1])
	}
	return out
}
