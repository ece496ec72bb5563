package config

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// envPrefix begins each variable that is config: FIELDPOST_API__LISTEN is
// api.listen.
const envPrefix = "FIELDPOST_"

// notConfig are variables with the prefix that belong to the command line.
var notConfig = []string{"FIELDPOST_CONFIG", "FIELDPOST_SOCKET"}

// outside is one value from the environment or a flag.
type outside struct {
	keys []string
	env  bool // - in a name is _ in a variable
	val  *node
}

// outsideValues lists what the environment and then the flags set, each in the
// order of their names. An empty variable is as good as none.
func outsideValues(src Source, probs *Problems) []outside {
	var out []outside
	vars := make(map[string]string)
	for _, e := range src.Env {
		if k, v, ok := strings.Cut(e, "="); ok && strings.HasPrefix(k, envPrefix) && !slices.Contains(notConfig, k) {
			vars[k] = v
		}
	}
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		at := place{file: "environment " + k, outside: true}
		keys := strings.Split(strings.ToLower(strings.TrimPrefix(k, envPrefix)), "__")
		switch {
		case vars[k] == "":
		case slices.Contains(keys, ""):
			probs.add(at, "there is a part without a name", "write it like FIELDPOST_API__LISTEN")
		default:
			out = append(out, outside{keys: keys, env: true, val: outsideScalar(vars[k], at)})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(src.Flags)) {
		at := place{file: "flag " + k, outside: true}
		out = append(out, outside{keys: strings.Split(k, "."), val: outsideScalar(src.Flags[k], at)})
	}
	return out
}

// outsideScalar makes a scalar of a text that came without YAML's quotes. Its
// tag is what YAML would make of it.
func outsideScalar(text string, at place) *node {
	n := &node{shape: scalar, at: at, text: text, tag: "!!str"}
	y := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if tag := y.ShortTag(); tag != "!!null" && tag != "!!merge" {
		n.tag = tag
	}
	return n
}

// overlay puts o into the tree, over what is there.
func overlay(root *node, o outside, probs *Problems) {
	n := root
	for i, k := range o.keys[:len(o.keys)-1] {
		k = spelled(n, k, o.env)
		child := n.get(k)
		if child == nil {
			child = &node{shape: dict, at: o.val.at}
			n.set(entry{key: k, at: o.val.at, val: child})
		}
		if child.shape != dict {
			p := path(o.keys[:i+1])
			probs.add(o.val.at, p.String()+" is "+child.shape.String()+" in "+child.at.String()+", it has no keys", "set it as a whole")
			return
		}
		n = child
	}
	last := spelled(n, o.keys[len(o.keys)-1], o.env)
	n.set(entry{key: last, at: o.val.at, val: o.val})
}

// spelled gives the key of n that a variable means: one can't write - or capital
// letters in its name.
func spelled(n *node, key string, env bool) string {
	if !env || n.get(key) != nil {
		return key
	}
	for i := range n.keys {
		if strings.ReplaceAll(strings.ToLower(n.keys[i].key), "-", "_") == key {
			return n.keys[i].key
		}
	}
	return key
}
