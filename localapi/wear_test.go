package localapi

import (
	"encoding/json"
	"strings"
	"testing"

	"fieldpost/edge"
)

// TestWear: what was written to the flash is in the status and the metrics, where
// somebody counts it.
func TestWear(t *testing.T) {
	wear := edge.WearStatus{Device: "mmcblk0p2", Budget: 100, Today: 30, DeviceToday: 50, Projected: 80, Events: 3, BytesPerEvent: 10, Written: 31, DeviceWritten: 5000}
	r := newRig(t, func(d *Deps, _ *Options) { d.Wear = func() edge.WearStatus { return wear } })
	var st struct {
		Wear edge.WearStatus `json:"wear"`
	}
	if err := json.Unmarshal(r.want(200, "GET", "/v1/status", readKey, "").body, &st); err != nil {
		t.Fatal(err)
	}
	want := wear
	want.Written, want.DeviceWritten = 0, 0 // for the metrics alone
	if st.Wear != want {
		t.Errorf("%+v", st.Wear)
	}
	body := string(r.want(200, "GET", "/metrics", readKey, "").body)
	for _, line := range []string{
		`fieldpost_flash_written_bytes_total{by="agent"} 31`, `fieldpost_flash_written_bytes_total{by="device"} 5000`,
		`fieldpost_flash_written_today_bytes{by="agent"} 30`, `fieldpost_flash_written_today_bytes{by="device"} 50`,
		"fieldpost_flash_projected_today_bytes 80", "fieldpost_flash_budget_bytes_per_day 100",
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no %s in\n%s", line, body)
		}
	}
	wear.Device, wear.Budget = "", 0
	if body := string(r.want(200, "GET", "/metrics", readKey, "").body); strings.Contains(body, `by="device"`) || strings.Contains(body, "budget") {
		t.Errorf("a device or a budget that there is not: %s", body)
	}
	without := newRig(t, nil)
	if body := string(without.want(200, "GET", "/v1/status", readKey, "").body) + string(without.want(200, "GET", "/metrics", readKey, "").body); strings.Contains(body, "wear") || strings.Contains(body, "flash") {
		t.Errorf("nobody counts, and it says %s", body)
	}
}
