package gpio

// Drivers is the table of drivers, in the order of the docs.
func Drivers() []Driver {
	return []Driver{
		digitalInDriver(),
		digitalOutDriver(),
		counterDriver(),
		buttonDriver(),
		pwmDriver(),
		ds18b20Driver(),
		dht22Driver(),
		iioDriver(),
		hwmonDriver(),
		cpuDriver(),
		simDriver(),
	}
}
