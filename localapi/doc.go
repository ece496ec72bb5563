// Package localapi serves the agent to the local network and to its own command
// line: REST, server-sent events, WebSocket, metrics and one status page.
//
//	Unix socket   peer credentials: root, our own uid and group fieldpost are admin
//	TCP, TLS      API keys
//	     |
//	     v
//	listener      at most 256 connections, 32 an address; the socket has its own
//	     v
//	gate          Host, Origin, CORS, compressed bodies: before anything else,
//	     |        an upgrade to WebSocket included
//	     v
//	routes        THE table: method, path, role, scope, handler
//	     v
//	handler       returns a value or an error
//	     v
//	respond       the one place that writes: JSON, problem+json, streams
//
// # Concepts
//
// A principal is who asks: a key's name, role and scope, or the socket. A role
// says what kind of thing may be done, a scope to which names: a route's row has
// both, so that neither can be forgotten.
//
// Live, replay and resume are one code path: a feed reads the log from a
// position of its own and waits for the store's next flush where the log ends.
// Server-sent events and WebSocket are two ways to write what a feed reads.
// Nobody pushes to a client, so a slow one reads later and delays nobody.
//
// A mailbox is a feed's position that the store keeps for its client.
//
// # The claim
//
// There is no default password. An agent without an admin key has a code, which the
// socket alone shows; its page takes the code and gives the first admin key. Until
// then strangers get the page, whether it lives and is ready, its description, and
// 401; a key of another role works all the same. Who holds the agent's button has the
// board, as who reads the code has: OpenClaim lets one client of the LAN in without it,
// within two minutes, and ForgetAccess takes every key back that was not in the config.
//
// # Adding a route
//
// A handler in the file of its noun, a row in routes.go, its description in
// openapi.yaml. The tests walk the table: they ask each route without a key, with
// too small a role and with a foreign method, and compare it with the document.
//
// # Bounds
//
// Headers, bodies, lines, connections, requests in flight and time are bounded,
// see limits.go. What a client sends is held in memory until it is flushed; all
// bodies together share one budget.
package localapi
