package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// identity is store.json, the copy of what a damaged state.db must not take
// along. It is written at each start that changes it.
type identity struct {
	Format int     `json:"format"`
	ID     string  `json:"id"`
	Serial string  `json:"serial"`
	Epochs []Epoch `json:"epochs"`
	Boots  []Boot  `json:"boots"`
}

func readIdentity(dir string) (identity, error) {
	var id identity
	b, err := os.ReadFile(filepath.Join(dir, "store.json"))
	if errors.Is(err, os.ErrNotExist) {
		return id, nil
	}
	if err != nil {
		return id, fmt.Errorf("read store.json: %w", err)
	}
	if json.Unmarshal(b, &id) != nil {
		return identity{}, nil // damaged: state.db has it all
	}
	if id.Format > storeFormat {
		return id, fmt.Errorf("open store of format %d, this version knows %s: %w", id.Format, strconv.Itoa(storeFormat), ErrNewer)
	}
	return id, nil
}

func (id identity) write(dir string) error {
	text, err := json.MarshalIndent(id, "", " ")
	if err != nil {
		return fmt.Errorf("write store.json: %w", err)
	}
	return WriteFile(filepath.Join(dir, "store.json"), append(text, '\n'))
}
