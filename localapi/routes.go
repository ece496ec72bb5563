package localapi

// scope says what a key that is bounded to names may do on a route.
type scope uint8

const (
	scopeOpen   scope = iota + 1 // tells nothing of any name
	scopeNames                   // the handler filters by the key's names
	scopeDevice                  // the path's {name} must be one of the key's names
	scopeWhole                   // for keys that are not bounded
)

// handler answers a request with a value that respond can write, or an error.
type handler func(s *Server, r *request) (any, error)

// route is one row of the API.
type route struct {
	method  string
	path    string
	role    role
	scope   scope
	handler handler
}

// routes is THE table. A path's pattern is net/http's.
func routes() []route {
	return []route{
		{"GET", "/{$}", roleNone, scopeOpen, getPage},
		{"GET", "/assets/{file}", roleNone, scopeOpen, getAsset},
		{"GET", "/healthz", roleNone, scopeOpen, getHealthz},
		{"GET", "/readyz", roleNone, scopeOpen, getReadyz},
		{"GET", "/openapi.yaml", roleNone, scopeOpen, getOpenAPI},
		{"GET", "/metrics", roleRead, scopeWhole, getMetrics},

		{"GET", "/v1/status", roleRead, scopeNames, getStatus},
		{"GET", "/v1/events", roleRead, scopeNames, getEvents},
		{"POST", "/v1/events", roleWrite, scopeNames, postEvents},
		{"GET", "/v1/events/{ring}/{seq}", roleRead, scopeNames, getEvent},
		{"GET", "/v1/events/{ring}/{seq}/uplinks", roleRead, scopeNames, getFates},
		{"GET", "/v1/stream", roleRead, scopeNames, getStream},
		{"GET", "/v1/ws", roleRead, scopeNames, getSocket},

		{"GET", "/v1/mailboxes", roleRead, scopeNames, getMailboxes},
		{"GET", "/v1/mailboxes/{mailbox}", roleRead, scopeNames, getMailbox},
		{"PUT", "/v1/mailboxes/{mailbox}", roleWrite, scopeNames, putMailbox},
		{"DELETE", "/v1/mailboxes/{mailbox}", roleWrite, scopeNames, deleteMailbox},
		{"POST", "/v1/mailboxes/{mailbox}/ack", roleWrite, scopeNames, ackMailbox},

		{"GET", "/v1/devices", roleRead, scopeNames, getDevices},
		{"GET", "/v1/devices/{name}", roleRead, scopeDevice, getDevice},
		{"GET", "/v1/devices/{name}/record", roleAdmin, scopeDevice, getRecord},
		{"POST", "/v1/devices/{name}/{command}", roleWrite, scopeDevice, postCommand},
		{"POST", "/v1/devices/{name}/report", roleWrite, scopeDevice, postReport},
		{"POST", "/v1/commands/{id}", roleWrite, scopeNames, postConfirm},

		{"GET", "/v1/pins", roleRead, scopeNames, getPins},
		{"POST", "/v1/pins/{pin}/drive", roleWrite, scopeNames, postDrive},

		{"GET", "/v1/uplinks", roleRead, scopeOpen, getUplinks},
		{"POST", "/v1/uplinks/{uplink}/test", roleAdmin, scopeWhole, postTest},
		{"POST", "/v1/uplinks/{uplink}/cut", roleAdmin, scopeWhole, postCut},

		{"GET", "/v1/rings", roleRead, scopeOpen, getRings},
		{"DELETE", "/v1/rings/{ring}", roleAdmin, scopeWhole, deleteRing},

		{"GET", "/v1/claim", roleAdmin, scopeWhole, getClaim},
		{"POST", "/v1/claim", roleNone, scopeOpen, postClaim},
		{"GET", "/v1/backup", roleAdmin, scopeWhole, getBackup},

		{"POST", "/v1/reload", roleAdmin, scopeWhole, postReload},

		{"GET", "/v1/keys", roleAdmin, scopeWhole, getKeys},
		{"POST", "/v1/keys", roleAdmin, scopeWhole, postKey},
		{"DELETE", "/v1/keys/{id}", roleAdmin, scopeWhole, deleteKey},

		{"GET", "/v1/clients", roleRead, scopeWhole, getClients},
	}
}
