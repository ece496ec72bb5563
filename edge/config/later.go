package config

// What DESIGN.md has and this version does not, so that an error can tell "not
// yet" from "never heard of". A name leaves its list when it becomes a key.

// laterKeys are keys by their pattern; * stands for a name.
var laterKeys = []string{
	"actions", "rules", "hooks", "relay", "folders", "lan_mqtt", "dialects", "dashboards", "tests",
	"uplinks.*.budget", "uplinks.*.receive", "uplinks.*.batch.compress",
	"uplink_defaults.budget", "uplink_defaults.receive", "uplink_defaults.batch.compress",
}

// laterSenders are senders that no row of the table makes yet.
var laterSenders = []string{"amqp", "nats", "http", "kafka"}

// pattern is p with * for the names that users choose.
func pattern(p path) string {
	q := append(path(nil), p...)
	switch {
	case len(q) > 1 && (q[0] == "devices" || q[0] == "uplinks" || q[0] == "keys" || q[0] == "mailboxes"):
		q[1] = "*"
	case len(q) > 2 && q[0] == "store" && q[1] == "rings":
		q[2] = "*"
	}
	return q.String()
}
