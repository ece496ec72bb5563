package uplink_test

import (
	"testing"
	"time"

	"fieldpost/edge/edgetest"
	"fieldpost/uplink/uplinktest"
)

// BenchmarkDrain empties a backlog into a real broker that nobody reads from.
func BenchmarkDrain(b *testing.B) {
	for _, bench := range []struct {
		name string
		per  int
	}{{"one", 1}, {"batches", 200}} {
		b.Run(bench.name, func(b *testing.B) {
			rig := edgetest.NewRig(b)
			m := uplinktest.StartMosquitto(b, uplinktest.MosquittoOptions{})
			const backlog = 100_000
			post(b, rig, "", backlog)
			opt := mqttOptions(rig, m.URL())
			opt.BatchEvents, opt.BatchWait = bench.per, time.Second
			b.ResetTimer()
			begin := time.Now()
			f, _ := start(b, opt)
			until(b, time.Minute, "drained", func() bool { return f.Status().Acknowledged >= backlog })
			b.ReportMetric(backlog/time.Since(begin).Seconds(), "events/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
