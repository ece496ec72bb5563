// Command fieldpost is the agent and the tool to talk to it, in one binary.
//
//	fieldpost run            the agent: opens the store, the socket, the API, the board
//	      ^
//	      | HTTP over the Unix socket
//	fieldpost VERB           status, events, devices, set, pins, keys, rings, ...
//
// Verbs that need no agent are check, verify, selftest, export --dir, demo and version.
//
// Each verb is one file and one line in the table of root.go. A verb returns an
// error and main maps it to an exit code: 0 fine, 1 failed or found a problem,
// 2 usage or config, 3 no agent to talk to. An error is one line on the standard
// error, "fieldpost: ...".
package main
