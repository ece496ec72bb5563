package gpio

import (
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// kernelConfig is a config in the kernel's words (Linux's
// include/uapi/linux/gpio.h: struct gpio_v2_line_config).
func kernelConfig(cfg LineConfig) uapi.LineConfig {
	var kc uapi.LineConfig
	if cfg.ActiveLow {
		kc.Flags |= uapi.LineFlagV2ActiveLow
	}
	switch cfg.Bias {
	case BiasAsIs:
	case BiasOff:
		kc.Flags |= uapi.LineFlagV2BiasDisabled
	case BiasUp:
		kc.Flags |= uapi.LineFlagV2BiasPullUp
	case BiasDown:
		kc.Flags |= uapi.LineFlagV2BiasPullDown
	}
	if cfg.Output {
		kc.Flags |= uapi.LineFlagV2Output
		value := uapi.OutputValues(0)
		if cfg.Initial == High {
			value = 1
		}
		// Always: without it the kernel drives low, be it for an instant.
		kc.AddAttribute(uapi.LineConfigAttribute{Attr: value.Encode(), Mask: 1})
		return kc
	}
	kc.Flags |= uapi.LineFlagV2Input
	if cfg.Edges&Rising != 0 {
		kc.Flags |= uapi.LineFlagV2EdgeRising
	}
	if cfg.Edges&Falling != 0 {
		kc.Flags |= uapi.LineFlagV2EdgeFalling
	}
	if micros := debounceMicros(cfg.Debounce); micros > 0 {
		attr := uapi.LineAttribute{}
		attr.Encode32(uapi.LineAttributeIDDebounce, uint32(micros))
		kc.AddAttribute(uapi.LineConfigAttribute{Attr: attr, Mask: 1})
	}
	return kc
}

// debounceMicros is a debounce period in the kernel's unit, rounded up: one that
// is asked for is never none.
func debounceMicros(d time.Duration) int64 {
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}
