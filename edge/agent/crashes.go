package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Crashes are the runs of an agent that did not end in good order, as they are noted
// beside its store.
type Crashes struct {
	Ago  []time.Duration // before the present run, or the last one, began; oldest first
	Safe bool            // that run is a safe start
}

// ReadCrashes reads them from the folder of a store. There are none where the last run
// ended in good order, or nothing takes commands there.
func ReadCrashes(dataDir string) (c Crashes, err error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, "running"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	var row startsRow
	if err == nil {
		err = json.Unmarshal(raw, &row)
	}
	if err != nil {
		return c, fmt.Errorf("read how earlier runs ended: %w", err)
	}
	for _, ago := range row.Crashes {
		c.Ago = append(c.Ago, time.Duration(ago*float64(time.Second)))
	}
	c.Safe = row.Safe
	return c, nil
}
