package edge

// WearStatus is what was written to the flash under the store. A day is 24 h of
// the board's uptime. Of what the device counted, the file system's own log and
// whatever else is on it are part; the agent's share is the kernel's count of what
// this process made it write, and at most what the device took.
type WearStatus struct {
	Device string `json:"device,omitempty"` // whose counter it is; "" where none is known
	Budget int64  `json:"budget,omitempty"` // bytes a day, store.wear; 0: none

	Today       int64 `json:"today"` // bytes, by the agent
	DeviceToday int64 `json:"device_today"`
	// Projected is what the agent will have written when the day is over, if it
	// goes on; 0 in the first hour, when that can't be said.
	Projected int64   `json:"projected,omitempty"`
	Hours     float64 `json:"hours"` // of today so far

	Yesterday       int64 `json:"yesterday"`
	DeviceYesterday int64 `json:"device_yesterday"`

	// The averages are over as many of the last 7 whole days as there were.
	Days                int   `json:"days"`
	PerDayAverage       int64 `json:"per_day_average"`
	DevicePerDayAverage int64 `json:"device_per_day_average"`

	Events uint64 `json:"events"` // stored today
	// BytesPerEvent is by the agent, of today but the first 5 minutes of each start,
	// when a new journal is written ahead; 0 where that leaves no event.
	BytesPerEvent float64 `json:"bytes_per_event"`

	Written       int64 `json:"-"` // by the agent since it started
	DeviceWritten int64 `json:"-"` // as the device counts, mostly since the boot
}
