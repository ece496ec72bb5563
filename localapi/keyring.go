package localapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// tableKeys is the store's table of API keys: a row a key, by its id.
const tableKeys = "keys"

// keyPrefix makes a key recognisable where it should not be.
const keyPrefix = "fp_"

// keyRow is a key as the store keeps it. The secret is not in it.
type keyRow struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Role  string   `json:"role"`
	Names []string `json:"names,omitempty"`
	Hash  string   `json:"sha256,omitempty"` // of the secret, hex
	Made  string   `json:"made,omitempty"`   // config or api; not stored
}

// heldKey is a key that requests are compared with.
type heldKey struct {
	row  keyRow
	role role
	hash [sha256.Size]byte
}

// keyring holds all keys.
type keyring struct {
	mu   sync.RWMutex
	keys []heldKey
}

// givenKeys reads the config's keys, secrets included.
func givenKeys(given []Key) ([]heldKey, error) {
	var keys []heldKey
	for _, g := range given {
		secret, err := g.Secret.Reveal()
		if err != nil {
			return nil, fmt.Errorf("read the secret of key %q: %w", g.Name, err)
		}
		if secret == "" {
			return nil, fmt.Errorf("read the secret of key %q: it is empty", g.Name)
		}
		r, err := parseRole(g.Role)
		if err != nil {
			return nil, fmt.Errorf("read key %q: %w", g.Name, err)
		}
		row := keyRow{ID: g.Name, Name: g.Name, Role: g.Role, Names: g.Names, Made: madeByConfig}
		keys = append(keys, heldKey{row, r, sha256.Sum256([]byte(secret))})
	}
	return keys, nil
}

// newKeyring loads the config's keys and the store's.
func newKeyring(given []Key, s store) (*keyring, error) {
	keys, err := givenKeys(given)
	if err != nil {
		return nil, err
	}
	k := &keyring{keys: keys}
	err = s.Each(tableKeys, "", func(id string, value []byte) bool {
		if h, ok := readKeyRow(id, value); ok {
			k.keys = append(k.keys, h)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	return k, nil
}

// readKeyRow reads a stored key. A row that can't be read opens nothing.
func readKeyRow(id string, value []byte) (heldKey, bool) {
	var row keyRow
	if json.Unmarshal(value, &row) != nil || row.ID != id {
		return heldKey{}, false
	}
	r, err := parseRole(row.Role)
	sum, err2 := hex.DecodeString(row.Hash)
	if err != nil || err2 != nil || len(sum) != sha256.Size {
		return heldKey{}, false
	}
	h := heldKey{row: row, role: r, hash: [sha256.Size]byte(sum)}
	h.row.Hash, h.row.Made = "", "api"
	return h, true
}

// find gives the principal of a key. It compares with every key there is, in a
// time that tells nothing of them.
func (k *keyring) find(secret string) (principal, bool) {
	if secret == "" {
		return principal{}, false
	}
	sum := sha256.Sum256([]byte(secret))
	k.mu.RLock()
	defer k.mu.RUnlock()
	at := -1
	for i := range k.keys {
		if subtle.ConstantTimeCompare(sum[:], k.keys[i].hash[:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return principal{}, false
	}
	h := &k.keys[at]
	return principal{id: h.row.ID, name: h.row.Name, role: h.role, names: h.row.Names, hash: h.hash}, true
}

// list gives all keys, without what would open anything.
func (k *keyring) list() []keyRow {
	k.mu.RLock()
	defer k.mu.RUnlock()
	rows := make([]keyRow, 0, len(k.keys))
	for _, h := range k.keys {
		rows = append(rows, h.row)
	}
	slices.SortFunc(rows, func(a, b keyRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// get finds a key by its id or name.
func (k *keyring) get(id string) (keyRow, bool) {
	for _, row := range k.list() {
		if row.ID == id || row.Name == id {
			return row, true
		}
	}
	return keyRow{}, false
}

// opens reports whether there still is the key that opened for somebody, with the same
// secret and scope.
func (k *keyring) opens(who principal) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.ContainsFunc(k.keys, func(h heldKey) bool {
		return h.row.ID == who.id && h.hash == who.hash && h.role == who.role && slices.Equal(h.row.Names, who.names)
	})
}

// hasAdmin reports whether there is a key with the role admin.
func (k *keyring) hasAdmin() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.ContainsFunc(k.keys, func(h heldKey) bool { return h.role == roleAdmin })
}

func (k *keyring) add(h heldKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = append(k.keys, h)
}

func (k *keyring) remove(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = slices.DeleteFunc(k.keys, func(h heldKey) bool { return h.row.ID == id && h.row.Made == "api" })
}

// differs reports whether the config's keys are others than those given.
func (k *keyring) differs(given []heldKey) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	n := 0
	for _, h := range k.keys {
		if h.row.Made != madeByConfig {
			continue
		}
		n++
		if !slices.ContainsFunc(given, func(g heldKey) bool { return reflect.DeepEqual(g, h) }) {
			return true
		}
	}
	return n != len(given)
}

// give puts other keys in the place of the config's. It returns the ids of those that
// are no more, or open something else.
func (k *keyring) give(given []heldKey) (ended []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := slices.Clone(given)
	for _, h := range k.keys {
		switch {
		case h.row.Made != madeByConfig:
			keys = append(keys, h)
		case !slices.ContainsFunc(given, func(g heldKey) bool { return reflect.DeepEqual(g, h) }):
			ended = append(ended, h.row.ID)
		}
	}
	k.keys = keys
	return ended
}

// newSecret makes a key of 256 random bits and its row.
func newSecret(name, roleName string, names []string) (secret string, row keyRow) {
	var b [36]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	secret = keyPrefix + base64.RawURLEncoding.EncodeToString(b[:32])
	sum := sha256.Sum256([]byte(secret))
	return secret, keyRow{ID: hex.EncodeToString(b[32:]), Name: name, Role: roleName, Names: names, Hash: hex.EncodeToString(sum[:])}
}
