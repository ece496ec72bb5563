package agent

import (
	"io"

	"fieldpost/edge/backup"
	"fieldpost/edge/config"
	"fieldpost/localapi"
	"fieldpost/queue"
)

// backup takes hold of the store as it is now, for who reads it over the API.
func (a *agent) backup() (localapi.Backup, error) {
	snap, err := a.store.Snapshot()
	if err != nil {
		return nil, err
	}
	a.log.Info("a backup begins", "epoch", epochText(snap.Epoch), "n", snap.LastN)
	return func(w io.Writer) error {
		defer snap.Close()
		_, err := backup.Write(w, BackupSource(a.config(), snap, a.id, a.opt.Version))
		return err
	}, nil
}

// BackupSource is what a backup of an agent with this config is made of.
func BackupSource(cfg *config.Config, snap *queue.Snapshot, id, version string) backup.Source {
	return backup.Source{Snapshot: snap, DataDir: cfg.DataDir, Config: cfg.Files, LeftOut: cfg.References(), Agent: id, Version: version}
}
