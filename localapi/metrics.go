package localapi

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"fieldpost/edge"
)

// meters count what the API does.
type meters struct {
	set       *metrics.Set
	published *metrics.Counter
}

func newMeters() *meters {
	set := metrics.NewSet()
	return &meters{set: set, published: set.NewCounter(`fieldpost_events_total{source="client"}`)}
}

// routeMeter counts the requests of one route.
type routeMeter struct {
	ok, refused, failed *metrics.Counter
	seconds             *metrics.Histogram
}

func (m *meters) route(rt route) *routeMeter {
	label := func(class string) string {
		return fmt.Sprintf(`fieldpost_http_requests_total{method=%q,route=%q,class=%q}`, rt.method, rt.path, class)
	}
	return &routeMeter{
		ok: m.set.NewCounter(label("2xx")), refused: m.set.NewCounter(label("4xx")), failed: m.set.NewCounter(label("5xx")),
		seconds: m.set.NewHistogram(fmt.Sprintf(`fieldpost_http_request_seconds{method=%q,route=%q}`, rt.method, rt.path)),
	}
}

func (m *routeMeter) took(begun time.Time, err error) {
	m.seconds.UpdateDuration(begun)
	switch {
	case err == nil:
		m.ok.Inc()
	case asProblem(err).Status >= 500:
		m.failed.Inc()
	default:
		m.refused.Inc()
	}
}

func getMetrics(s *Server, _ *request) (any, error) {
	var b bytes.Buffer
	metrics.WriteGaugeUint64(&b, fmt.Sprintf(`fieldpost_build_info{version=%q,revision=%q,goversion=%q}`, s.opt.Version, s.opt.Revision, runtime.Version()), 1)
	s.writeStore(&b)
	s.writeWear(&b)
	s.writeUplinks(&b)
	s.writeDevices(&b)
	tcp, unix := s.conns.open()
	metrics.WriteGaugeUint64(&b, `fieldpost_http_connections{network="tcp"}`, uint64(tcp))
	metrics.WriteGaugeUint64(&b, `fieldpost_http_connections{network="unix"}`, uint64(unix))
	metrics.WriteGaugeUint64(&b, `fieldpost_clients{kind="stream"}`, uint64(s.clients.count("stream")))
	metrics.WriteGaugeUint64(&b, `fieldpost_clients{kind="socket"}`, uint64(s.clients.count("socket")))
	if s.Metrics != nil {
		s.Metrics(&b)
	}
	s.meters.set.WritePrometheus(&b)
	metrics.WriteProcessMetrics(&b)
	return raw{mime: "text/plain; version=0.0.4; charset=utf-8", body: b.Bytes()}, nil
}

func (s *Server) writeStore(w io.Writer) {
	h, p := s.Store.Health(), s.Pump.Stats()
	metrics.WriteCounterUint64(w, "fieldpost_events_stored_total", p.Events)
	var lost uint64
	for _, n := range p.Lost {
		lost += n
	}
	metrics.WriteCounterUint64(w, `fieldpost_events_dropped_total{reason="full"}`, lost)
	var damaged, gone uint64
	for _, r := range s.Store.Rings() {
		damaged, gone = damaged+r.Lost, gone+r.Gone
		metrics.WriteGaugeUint64(w, fmt.Sprintf(`fieldpost_ring_events{ring=%q}`, r.Name), r.Last+1-r.First)
		metrics.WriteGaugeUint64(w, fmt.Sprintf(`fieldpost_ring_bytes{ring=%q}`, r.Name), uint64(max(0, r.Bytes)))
	}
	metrics.WriteCounterUint64(w, `fieldpost_events_dropped_total{reason="damage"}`, damaged)
	metrics.WriteCounterUint64(w, "fieldpost_events_evicted_total", gone)
	metrics.WriteGaugeUint64(w, "fieldpost_events_waiting", uint64(max(0, p.Waiting)))
	metrics.WriteCounterUint64(w, "fieldpost_flushes_total", h.Flushes)
	metrics.WriteGaugeFloat64(w, "fieldpost_last_flush_seconds", p.Took.Seconds())
	metrics.WriteGaugeUint64(w, "fieldpost_storage_free_bytes", uint64(max(0, h.Free)))
	metrics.WriteGaugeUint64(w, "fieldpost_storage_ok", flag(h.Err == nil && !h.Full && !h.ReadOnly))
	state, bound := s.Clock.State()
	metrics.WriteGaugeUint64(w, "fieldpost_clock_synced", flag(state == edge.Synced))
	metrics.WriteGaugeFloat64(w, "fieldpost_clock_bound_seconds", bound.Seconds())
}

func (s *Server) writeWear(w io.Writer) {
	if s.Wear == nil {
		return
	}
	wear := s.Wear()
	bytes := func(n int64) uint64 { return uint64(max(0, n)) }
	metrics.WriteCounterUint64(w, `fieldpost_flash_written_bytes_total{by="agent"}`, bytes(wear.Written))
	metrics.WriteGaugeUint64(w, `fieldpost_flash_written_today_bytes{by="agent"}`, bytes(wear.Today))
	if wear.Device != "" {
		metrics.WriteCounterUint64(w, `fieldpost_flash_written_bytes_total{by="device"}`, bytes(wear.DeviceWritten))
		metrics.WriteGaugeUint64(w, `fieldpost_flash_written_today_bytes{by="device"}`, bytes(wear.DeviceToday))
	}
	if wear.Projected > 0 {
		metrics.WriteGaugeUint64(w, "fieldpost_flash_projected_today_bytes", bytes(wear.Projected))
	}
	if wear.Budget > 0 {
		metrics.WriteGaugeUint64(w, "fieldpost_flash_budget_bytes_per_day", bytes(wear.Budget))
	}
}

func (s *Server) writeUplinks(w io.Writer) {
	for _, u := range s.uplinks() {
		label := fmt.Sprintf(`{uplink=%q}`, u.Name)
		metrics.WriteGaugeUint64(w, "fieldpost_uplink_up"+label, flag(u.State == "up"))
		metrics.WriteGaugeUint64(w, "fieldpost_queue_events"+label, u.Backlog)
		metrics.WriteGaugeUint64(w, "fieldpost_uplink_in_flight"+label, uint64(max(0, u.InFlight)))
		metrics.WriteCounterUint64(w, "fieldpost_uplink_acknowledged_total"+label, u.Acknowledged)
		metrics.WriteCounterUint64(w, "fieldpost_uplink_refused_total"+label, u.Refused)
		metrics.WriteCounterUint64(w, "fieldpost_uplink_connects_total"+label, u.Connects)
	}
}

func (s *Server) writeDevices(w io.Writer) {
	if s.Devices == nil {
		return
	}
	for _, d := range s.Devices.Devices() {
		label := fmt.Sprintf(`{device=%q,driver=%q}`, d.Name, d.Driver)
		metrics.WriteGaugeUint64(w, "fieldpost_device_up"+label, flag(d.Status == "ok"))
		metrics.WriteCounterUint64(w, "fieldpost_device_restarts_total"+label, d.Restarts)
		metrics.WriteCounterUint64(w, "fieldpost_device_lost_total"+label, d.Lost)
	}
}

func flag(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}
