package config

import (
	"strings"
	"testing"
)

func lines(s ...string) string { return strings.Join(s, "\n") }

// TestProblems holds the texts that a user sees: the place, what is wrong, and
// the cure.
func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown section", "devises: {}\n", lines(
			`fieldpost.yaml:1:1: the config has no key "devises": did you mean devices?`,
		)},
		{"unknown key", "devices:\n  door: {line: GPIO17, debonce: 30ms}\n", lines(
			`fieldpost.yaml:2:24: devices.door (line) has no key "debonce": did you mean debounce?`,
		)},
		{"case of a key", "devices:\n  door: {line: GPIO17, Debounce: 30ms}\n", lines(
			`fieldpost.yaml:2:24: devices.door (line) has no key "Debounce": did you mean debounce?`,
		)},
		{"case of a section", "API: {listen: off}\n", lines(
			`fieldpost.yaml:1:1: the config has no key "API": did you mean api?`,
		)},
		{"far from all", "api: {zzz: 1}\n", lines(
			`fieldpost.yaml:1:7: api has no key "zzz": it can be base_path, hosts, listen, origins, socket, tls or trusted_proxies`,
		)},
		{"no unit", "devices:\n  door:\n    line: GPIO17\n    debounce: 30\n", lines(
			`fieldpost.yaml:4:15: devices.door.debounce: duration "30" has no unit: write it like 30ms, 10s, 10m, 1h, 30d or 2w`,
		)},
		{"size without unit", "store: {headroom: 200}\n", lines(
			`fieldpost.yaml:1:19: store.headroom: size "200" has no unit: write it like 16kB, 200MB or 1GiB`,
		)},
		{"unknown unit", "store: {rings: {events: {age: 5 parsecs}}}\n", lines(
			`fieldpost.yaml:1:31: store.rings.events.age: duration "5 parsecs" has an unknown unit: write it like 30ms, 10s, 10m, 1h, 30d or 2w`,
		)},
		{"null", "devices:\n  door: {line: GPIO17, pull: }\n", lines(
			`fieldpost.yaml:2:30: devices.door.pull has no value: write one or take the key out`,
		)},
		{"null entry", "devices:\n  door:\n", lines(
			`fieldpost.yaml:2:8: devices.door has no value: write one or take the key out`,
		)},
		{"null section", "devices:\n", lines(
			`fieldpost.yaml:1:9: devices has no value: write one or take the key out`,
		)},
		{"tilde", "agent: {id: ~}\n", lines(
			`fieldpost.yaml:1:13: agent.id has no value: write one or take the key out`,
		)},
		{"duplicate key", "agent: {id: a}\nstore: {}\nagent: {id: b}\n", lines(
			`fieldpost.yaml:3:1: "agent" is already in line 1: keep one of them`,
		)},
		{"duplicate deep", "devices:\n  door: {line: GPIO17}\n  door: {line: GPIO18}\n", lines(
			`fieldpost.yaml:3:3: "door" is already in line 2: keep one of them`,
		)},
		{"yes for a bool", "devices: {door: {line: GPIO17, invert: yes}}\n", lines(
			`fieldpost.yaml:1:40: devices.door.invert: "yes" is neither true nor false: write true`,
		)},
		{"on for a bool", "devices: {door: {line: GPIO17, invert: on}}\n", lines(
			`fieldpost.yaml:1:40: devices.door.invert: "on" is neither true nor false: write true`,
		)},
		{"off for a bool", "devices: {door: {line: GPIO17, invert: off}}\n", lines(
			`fieldpost.yaml:1:40: devices.door.invert: "off" is neither true nor false: write false`,
		)},
		{"quoted bool", "devices: {door: {line: GPIO17, invert: \"true\"}}\n", lines(
			`fieldpost.yaml:1:40: devices.door.invert: "true" is text: write true without quotes`,
		)},
		{"word for a bool", "devices: {door: {line: GPIO17, invert: maybe}}\n", lines(
			`fieldpost.yaml:1:40: devices.door.invert: "maybe" is neither true nor false: write one of them`,
		)},
		{"1e3 for a count", "devices: {air: {chip: 0x76, count: 1e3}}\n", lines(
			`fieldpost.yaml:1:36: devices.air.count: "1e3" is not a whole number: write 1000`,
		)},
		{"fraction", "devices: {air: {chip: 0x76, count: 1.9}}\n", lines(
			`fieldpost.yaml:1:36: devices.air.count: "1.9" is not a whole number: write it like 80 or 0x50`,
		)},
		{"octal", "devices: {air: {chip: 0x76, count: 017}}\n", lines(
			`fieldpost.yaml:1:36: devices.air.count: "017" could be octal: write 17, or 15 if octal was meant`,
		)},
		{"octal 0o", "devices: {air: {chip: 0x76, count: 0o17}}\n", lines(
			`fieldpost.yaml:1:36: devices.air.count: "0o17" could be octal: write 17, or 15 if octal was meant`,
		)},
		{"underscore", "devices: {air: {chip: 0x76, count: 1_000}}\n", lines(
			`fieldpost.yaml:1:36: devices.air.count: "1_000" is not a whole number: write 1000`,
		)},
		{"quoted number", "devices: {air: {chip: \"118\"}}\n", lines(
			`fieldpost.yaml:1:23: devices.air.chip: "118" is text: write 118 without quotes`,
		)},
		{"too large", "devices: {air: {chip: 0x176}}\n", lines(
			`fieldpost.yaml:1:23: devices.air.chip: "0x176" does not fit: write 0 to 255`,
		)},
		{"negative", "devices: {air: {chip: -1}}\n", lines(
			`fieldpost.yaml:1:23: devices.air.chip: "-1" does not fit: write 0 to 255`,
		)},
		{"infinite", "devices: {door: {line: GPIO17, scale: .inf}}\n", lines(
			`fieldpost.yaml:1:39: devices.door.scale: ".inf" is not a number: write it like 0.5, 20 or 1e3`,
		)},
		{"octal float", "devices: {door: {line: GPIO17, scale: 010}}\n", lines(
			`fieldpost.yaml:1:39: devices.door.scale: "010" could be octal: write 10, or 8 if octal was meant`,
		)},
		{"list for text", "devices: {door: {line: GPIO17, pull: [up]}}\n", lines(
			`fieldpost.yaml:1:38: devices.door.pull needs a single value, this is a list: write one text`,
		)},
		{"map for text", "devices: {door: {line: {pin: 17}}}\n", lines(
			`fieldpost.yaml:1:24: devices.door.line needs a single value, this is a map: write it like GPIO17`,
		)},
		{"text for a map", "devices: {door: {line: GPIO17, offline: 5m}}\n", lines(
			`fieldpost.yaml:1:41: devices.door.offline needs a map, this is a single value: write it as  {key: value}`,
		)},
		{"text for a section", "api: off\n", lines(
			`fieldpost.yaml:1:6: api needs a map, this is a single value: write it as  {key: value}`,
		)},
		{"list for names", "devices: [door]\n", lines(
			`fieldpost.yaml:1:10: devices needs a map, this is a list: write it as  {key: value}`,
		)},
		{"map for a list", "api: {listen: {a: b}}\n", lines(
			`fieldpost.yaml:1:15: api.listen needs a list, this is a map: write it as  [one, two]`,
		)},
		{"bad pin", "devices: {door: {line: P1_6}}\n", lines(
			`fieldpost.yaml:1:24: devices.door.line: pin "P1_6": position 6 of the header is GND, no line`,
		)},
		{"pin twice", "devices:\n  door: {line: GPIO17}\n  gate: {line: 17}\n  bell: {line: P1_11}\n", lines(
			`fieldpost.yaml:3:16: devices.gate.line: GPIO17 is already devices.door.line (fieldpost.yaml:2:16): give each its own pin`,
			`fieldpost.yaml:4:16: devices.bell.line: GPIO17 is already devices.door.line (fieldpost.yaml:2:16): give each its own pin`,
		)},
		{"pin in a list", "devices:\n  door: {line: GPIO5}\n  air: {chip: 1, pins: [GPIO4, GPIO5]}\n", lines(
			`fieldpost.yaml:3:32: devices.air.pins[1]: GPIO5 is already devices.door.line (fieldpost.yaml:2:16): give each its own pin`,
		)},
		{"no driver", "devices:\n  door: {label: Door}\n", lines(
			`fieldpost.yaml:2:3: devices.door has no driver: it can be chip, empty or line`,
		)},
		{"two drivers", "devices:\n  door: {line: GPIO17, chip: 1}\n", lines(
			`fieldpost.yaml:2:24: devices.door has two drivers, line and chip: keep one of them`,
		)},
		{"driver typo", "devices:\n  door: {lin: GPIO17}\n", lines(
			`fieldpost.yaml:2:10: devices.door: there is no driver "lin": did you mean line?`,
		)},
		{"later sender", "uplinks:\n  lab: {nats: \"nats://x\"}\n", lines(
			`fieldpost.yaml:2:9: this version has no sender nats yet: it can be tube or wire`,
		)},
		{"later section", "rules: {}\ntests: []\n", lines(
			`fieldpost.yaml:1:1: this version does not know rules yet: take it out`,
			`fieldpost.yaml:2:1: this version does not know tests yet: take it out`,
		)},
		{"later uplink key", "uplinks:\n  lab: {wire: x, budget: 50MB/month, batch: {compress: zstd}}\n", lines(
			`fieldpost.yaml:2:18: this version does not know uplinks.lab.budget yet: take it out`,
			`fieldpost.yaml:2:46: this version does not know uplinks.lab.batch.compress yet: take it out`,
		)},
		{"bad device name", "devices: {\"Front Door\": {line: GPIO17}}\n", lines(
			`fieldpost.yaml:1:11: device name "Front Door" can't be used: write front-door`,
		)},
		{"reserved name", "devices: {ledger: {line: GPIO17}}\n", lines(
			`fieldpost.yaml:1:11: device name "ledger" is reserved: choose another`,
		)},
		{"dotted name", "uplinks: {a.b: {tube: x}}\n", lines(
			`fieldpost.yaml:1:11: uplink name "a.b" can't be used: write a-b`,
		)},
		{"bad ring name", "store: {rings: {Alarms: {keep: 5}}}\n", lines(
			`fieldpost.yaml:1:17: ring name "Alarms" can't be used: write alarms`,
		)},
		{"bad ring of device", "devices: {door: {line: GPIO17, ring: audit}}\n", lines(
			`fieldpost.yaml:1:38: devices.door.ring: only the agent itself writes into audit: name another ring`,
		)},
		{"thin events", "store:\n  rings:\n    events: {when_full: thin}\n", lines(
			`fieldpost.yaml:3:25: store.rings.events.when_full: events holds no samples, and nothing else is thinned: take it out: its oldest events go first`,
		)},
		{"thin audit", "store: {rings: {audit: {when_full: thin}}}\n", lines(
			`fieldpost.yaml:1:36: store.rings.audit.when_full: audit holds no samples, and nothing else is thinned: take it out: its oldest events go first`,
		)},
		{"thin rows of an hour", "store:\n  rings:\n    flow: {when_full: thin}\n    flow-1h: {when_full: thin}\n", lines(
			`fieldpost.yaml:4:26: store.rings.flow-1h.when_full: rows of an hour are not thinned further: take it out: its oldest rows go first`,
		)},
		{"device among rows", "store: {rings: {samples: {when_full: thin}}}\ndevices: {door: {line: GPIO17, ring: samples-1m}}\n", lines(
			`fieldpost.yaml:2:38: devices.door.ring: only the agent itself writes into samples-1m, the rows of samples: name another ring`,
		)},
		{"when_full", "store: {rings: {samples: {when_full: stop}}}\n", lines(
			`fieldpost.yaml:1:38: store.rings.samples.when_full: "stop" is not known: write evict or thin, or take it out`,
		)},
		{"keep nothing", "store: {rings: {samples: {keep: 0}}}\n", lines(
			`fieldpost.yaml:1:33: store.rings.samples.keep: a ring must keep something: write how much`,
		)},
		{"validate", "devices:\n  door: {line: GPIO17, pull: sideways, scale: -1}\n", lines(
			`fieldpost.yaml:2:3: devices.door: scale can't be below 0`,
			`fieldpost.yaml:2:30: devices.door.pull: a pull is up or down`,
		)},
		{"half a place", "devices: {door: {line: GPIO17, at: {lat: 5}}}\n", lines(
			`fieldpost.yaml:1:32: devices.door.at needs both lat and lon: write  at: {lat: 52.5, lon: 13.4}`,
		)},
		{"off the earth", "devices: {door: {line: GPIO17, at: {lat: 95, lon: 1}}}\n", lines(
			`fieldpost.yaml:1:32: devices.door.at is not on Earth: lat is -90 to 90, lon is -180 to 180`,
		)},
		{"order", "uplinks: {lab: {tube: x, order: livefirst}}\n", lines(
			`fieldpost.yaml:1:33: uplinks.lab.order: "livefirst" is not known: did you mean live-first?`,
		)},
		{"from", "uplinks: {lab: {tube: x, from: later}}\n", lines(
			`fieldpost.yaml:1:32: uplinks.lab.from: "later" is not known: it can be now or oldest`,
		)},
		{"rings empty", "uplinks: {lab: {tube: x, rings: []}}\n", lines(
			`fieldpost.yaml:1:26: uplinks.lab.rings is empty: name a ring, or take the key out for the usual ones`,
		)},
		{"rings twice", "uplinks: {lab: {tube: x, rings: [a, a]}}\n", lines(
			`fieldpost.yaml:1:37: uplinks.lab.rings[1]: a is in the list twice: keep one of them`,
		)},
		{"batch", "uplinks: {lab: {tube: x, batch: {events: 100000}}}\n", lines(
			`fieldpost.yaml:1:42: uplinks.lab.batch.events: 100000 is out of bounds: write 1 to 10000`,
		)},
		{"cert without key", "uplinks: {lab: {tube: x, tls: {cert: file:/c}}}\n", lines(
			`fieldpost.yaml:1:38: uplinks.lab.tls has a cert and no key: give both, or none`,
		)},
		{"prefix", "uplinks: {lab: {tube: x, prefix: a/#}}\n", lines(
			`fieldpost.yaml:1:34: uplinks.lab.prefix: "a/#" can't stand before a topic: write it like site7, without / at its ends and without + # $`,
		)},
		{"defaults key", "uplink_defaults: {prefx: a}\n", lines(
			`fieldpost.yaml:1:19: uplink_defaults has no key "prefx": did you mean prefix?`,
		)},
		{"defaults sender", "uplink_defaults: {wire: a}\n", lines(
			`fieldpost.yaml:1:19: uplink_defaults can't choose a sender (wire): write it in each uplink`,
		)},
		{"listen twice", "api: {listen: [\":8716\", \":8717\", \":8716\"]}\n", lines(
			`fieldpost.yaml:1:34: api.listen[2]: ":8716" is in the list twice: keep one of them`,
		)},
		{"a path for a certificate", "api: {tls: {cert: /srv/hunter2, key: \"file:/srv/key\"}}\nuplinks: {lab: {tube: x, tls: {ca: ca.pem}}}\n", lines(
			`fieldpost.yaml:1:19: api.tls.cert is no PEM text: write file:PATH where it is in a file`,
			`fieldpost.yaml:2:36: uplinks.lab.tls.ca is no PEM text: write file:PATH where it is in a file`,
		)},
		{"listen port", "api: {listen: [8716]}\n", lines(
			`fieldpost.yaml:1:16: api.listen[0]: "8716" is a port alone: write ":8716"`,
		)},
		{"listen", "api: {listen: [localhost, \"unix:x\", \":99999\", off]}\n", lines(
			`fieldpost.yaml:1:16: api.listen[0]: "localhost" is no address: write it like ":8716", "127.0.0.1:8716" or unix:PATH`,
			`fieldpost.yaml:1:27: api.listen[1]: "unix:x" is not a whole path: write it like unix:/run/fieldpost/web.sock`,
			`fieldpost.yaml:1:37: api.listen[2]: ":99999" has no port from 0 to 65535: write it like ":8716"`,
			`fieldpost.yaml:1:47: api.listen[3]: "off" can't be one of several addresses: write  listen: off  alone`,
		)},
		{"base path", "api: {base_path: pi/}\n", lines(
			`fieldpost.yaml:1:18: api.base_path: "pi/" is no path: write it like /pi`,
		)},
		{"socket", "api: {socket: x.sock}\n", lines(
			`fieldpost.yaml:1:15: api.socket: "x.sock" is not a whole path: write it like /run/fieldpost/fieldpost.sock`,
		)},
		{"hosts and the like", "api: {hosts: [\"http://x\"], origins: [web.lan], trusted_proxies: [proxy]}\n", lines(
			`fieldpost.yaml:1:15: api.hosts[0]: "http://x" is no host name: write it like pi.example.org`,
			`fieldpost.yaml:1:38: api.origins[0]: "web.lan" is no origin: write it like http://web.lan:8000, without a path`,
			`fieldpost.yaml:1:66: api.trusted_proxies[0]: "proxy" is no address: write it like 127.0.0.1 or 10.0.0.0/8`,
		)},
		{"client certs", "api: {tls: {client_certs: sometimes}}\n", lines(
			`fieldpost.yaml:1:27: api.tls asks for client certificates and has no client_ca: say who signs them`,
			`fieldpost.yaml:1:27: api.tls.client_certs: "sometimes" is not known: it can be optional or required`,
		)},
		{"key without secret", "keys:\n  app: {role: write}\n", lines(
			`fieldpost.yaml:2:3: keys.app has no secret: write  secret: file:PATH, env:NAME or cred:NAME`,
		)},
		{"key without role", "keys:\n  app: {secret: hunter2}\n", lines(
			`fieldpost.yaml:2:3: keys.app has no role: write  role: read, write, admin or forward`,
		)},
		{"key role", "keys: {app: {role: writer, secret: hunter2}}\n", lines(
			`fieldpost.yaml:1:20: keys.app.role: "writer" is not known: did you mean write?`,
		)},
		{"same secret", "keys:\n  a: {role: read, secret: hunter2}\n  b: {role: read, secret: hunter2}\n", lines(
			`fieldpost.yaml:3:27: keys.b has the secret of keys.a: give each key its own`,
		)},
		{"secret names none", "keys: {a: {role: read, secret: \"file:\"}}\n", lines(
			`fieldpost.yaml:1:32: keys.a.secret is not a secret: write it, or file:PATH, env:NAME or cred:NAME`,
		)},
		{"secret of wrong kind", "keys: {a: {role: read, secret: [hunter2]}}\n", lines(
			`fieldpost.yaml:1:32: keys.a.secret needs a single value, this is a list: write it, or file:PATH, env:NAME or cred:NAME`,
		)},
		{"mailbox", "mailboxes: {app: {keep: -1, names: [\"\"]}}\n", lines(
			`fieldpost.yaml:1:25: mailboxes.app.keep is below 0: write how many to keep; 0 stores nothing`,
			`fieldpost.yaml:1:37: mailboxes.app.names has a name that is empty or over 256 bytes: write it like door or kitchen/*`,
		)},
		{"anchor", "store: &s {}\napi: *s\n", lines(
			`fieldpost.yaml:1:8: anchors and aliases (& and *) are not taken: write the value out; uplink_defaults holds what uplinks share`,
			`fieldpost.yaml:2:6: anchors and aliases (& and *) are not taken: write the value out; uplink_defaults holds what uplinks share`,
		)},
		{"merge key", "store:\n  <<: {headroom: 1MB}\n", lines(
			`fieldpost.yaml:2:3: merging with << is not taken: write the keys out; uplink_defaults holds what uplinks share`,
		)},
		{"tag", "agent: {id: !!binary aGk=}\n", lines(
			`fieldpost.yaml:1:13: the tag "!!binary" is not taken: take it out`,
		)},
		{"two documents", "agent: {id: a}\n---\nagent: {id: b}\n", lines(
			`fieldpost.yaml:2:1: a second document begins here: keep one document in a file; conf.d takes more files`,
		)},
		{"not a map", "- a\n", lines(
			`fieldpost.yaml:1:1: the file holds a list: write sections like  devices:  and  api:`,
		)},
		{"tab", "agent:\n\tid: a\n", lines(
			`fieldpost.yaml:2:1: not YAML: found character that cannot start any token: indent with spaces, not with a tab`,
		)},
		{"bad list", "api:\n  listen: [a, b\nagent: {id: a}\n", lines(
			`fieldpost.yaml:2:3: not YAML: did not find expected ',' or ']': see the indentation, quotes and brackets of this line and the one before`,
		)},
		{"home folder", "data_dir: ~/x\n", lines(
			`fieldpost.yaml:1:11: data_dir: "~/x" is no folder: write the whole path, like /var/lib/fieldpost`,
		)},
		{"agent id", "agent: {id: Green House}\n", lines(
			`fieldpost.yaml:1:13: agent name "Green House" can't be used: write green-house`,
		)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lines(problems(t, one(t, c.yaml))...); got != c.want {
				t.Errorf("problems:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}
