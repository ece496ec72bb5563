package gpio

// Drivers is the table of drivers, in the order of the docs.
func Drivers() []Driver {
	return []Driver{
		digitalInDriver(),
		digitalOutDriver(),
		counterDriver(),
		buttonDriver(),
		rotaryDriver(),
		hcsr04Driver(),
		hx711Driver(),
		bme280Driver(),
		ads1115Driver(),
		mcp3008Driver(),
		mcp23017Driver(),
		pwmDriver(),
		ds18b20Driver(),
		dht22Driver(),
		iioDriver(),
		hwmonDriver(),
		serialDriver(),
		modbusDriver(),
		httpGetDriver(),
		cpuDriver(),
		externalDriver(),
		simDriver(),
	}
}
