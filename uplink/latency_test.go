package uplink_test

import (
	"slices"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"fieldpost/edge/edgetest"
	"fieldpost/uplink/uplinktest"
)

// BenchmarkLatency is the way of one event at a time, from the call that stores
// it to a subscriber at the broker.
func BenchmarkLatency(b *testing.B) {
	rig := edgetest.NewRig(b)
	m := uplinktest.StartMosquitto(b, uplinktest.MosquittoOptions{})
	f, _ := start(b, mqttOptions(rig, m.URL()))
	until(b, 10*time.Second, "drained", func() bool { return f.Status().State == "up" && empty(f)() })
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + m.Addr()).SetClientID("reader"))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		b.Fatal(tok.Error())
	}
	defer c.Disconnect(100)
	got := make(chan struct{}, 64)
	if tok := c.Subscribe("fieldpost/test/events/alarms/#", 1, func(mqtt.Client, mqtt.Message) { got <- struct{}{} }); !tok.WaitTimeout(10 * time.Second) {
		b.Fatal("no SUBACK")
	}
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		post(b, rig, "alarms", 1)
		<-got
		took = append(took, time.Since(begin))
		<-time.After(5 * time.Millisecond)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
