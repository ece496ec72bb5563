package gpio

// Drivers is the table of drivers, in the order of the docs.
func Drivers() []Driver {
	return []Driver{
		digitalInDriver(),
		digitalOutDriver(),
		counterDriver(),
		buttonDriver(),
		serialDriver(),
		modbusDriver(),
		httpGetDriver(),
		cpuDriver(),
		simDriver(),
	}
}
