// Package dial makes connections for whoever talks to the network: uplinks,
// actions and the local API's certificates.
//
//	uplink sender ──► Dialer.DialContext ──► Conn: counts bytes, knows what the
//	      |                                  peer's kernel has not taken yet
//	      └──► TLS.Config ──► *tls.Config    secrets are read here, at the last moment
//
//	WatchRoutes ──► "a route or an address changed: try again now"
//
// A half-open peer is the usual peer of a field device. So each connection has
// TCP_USER_TIMEOUT, keepalive, and Unsent, by which a watchdog tells a slow peer
// (the queue falls) from a dead one (it doesn't).
package dial
