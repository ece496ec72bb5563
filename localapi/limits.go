package localapi

import "time"

// limits are the bounds of a server. Tests make them smaller.
type limits struct {
	header      int           // bytes of a request's line and headers
	body        int           // bytes of a body, where the route says nothing else
	events      int           // bytes of one event or an array of them
	ndjson      int           // bytes of a body of lines
	line        int           // bytes of one line
	lines       int           // lines of one body
	memory      int64         // bytes of all bodies held at once
	page        int           // bytes of events in one answer, roughly
	conns       int           // connections over TCP
	perAddress  int           // of them from one address
	socketConns int           // connections over Unix sockets
	streams     int           // streams and sockets at once
	keys        int           // API keys
	mailboxes   int           // mailboxes
	rings       int           // rings that a client may bring about
	inFlight    int           // events of a socket that wait for their flush
	commands    int           // commands of a socket that are being done
	headerTime  time.Duration // to send the headers
	requestTime time.Duration // to send a request whole, and to take its answer
	idle        time.Duration // between requests of a connection
	write       time.Duration // for a reader to take what is written
	beat        time.Duration // the longest silence of a stream
	ping        time.Duration // between pings of a socket, and for its answer
	drain       time.Duration // for requests to end when the server stops
}

func defaultLimits() limits {
	return limits{
		header:      16 << 10,
		body:        64 << 10,
		events:      1_000_000,
		ndjson:      4 << 20,
		line:        256_000,
		lines:       8192,
		memory:      24 << 20,
		page:        2 << 20,
		conns:       256,
		perAddress:  32,
		socketConns: 64,
		streams:     128,
		keys:        256,
		mailboxes:   64,
		rings:       128,
		inFlight:    1024,
		commands:    16,
		headerTime:  5 * time.Second,
		requestTime: 30 * time.Second,
		idle:        60 * time.Second,
		write:       30 * time.Second,
		beat:        15 * time.Second,
		ping:        30 * time.Second,
		drain:       2 * time.Second,
	}
}
