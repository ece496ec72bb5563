package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds of one document: how deep it may nest, and how many keys a map of it
// may have.
const (
	maxDepth = 32
	maxKeys  = 4096
)

// yamlLine takes the line out of a syntax error of the YAML library.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// countsFromZero finds the errors whose line the library counts from 0.
var countsFromZero = regexp.MustCompile(`^did not find expected (<document start>|'-' indicator|key$|',' or '[\]}]'|node content)`)

// parser turns one file's bytes into nodes.
type parser struct {
	file  string
	probs *Problems
}

// parse reads the one YAML document in b. It gives an empty dict for an empty
// file and for one that can't be read, and adds what is wrong to probs.
func parse(file string, b []byte, probs *Problems) *node {
	p := &parser{file: file, probs: probs}
	probs.source(file)
	root := &node{shape: dict, at: place{file: file, line: 1, col: 1}}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	doc, err := decodeNode(dec)
	if errors.Is(err, io.EOF) {
		return root
	}
	if err != nil {
		p.syntax(b, err)
		return root
	}
	if second, err := decodeNode(dec); err == nil {
		probs.add(p.place(second), "a second document begins here", "keep one document in a file; conf.d takes more files")
	} else if !errors.Is(err, io.EOF) {
		p.syntax(b, err)
	}
	if len(doc.Content) != 1 || isNull(doc.Content[0]) {
		return root
	}
	top := p.node(doc.Content[0], 0)
	if top.shape != dict {
		probs.add(top.at, "the file holds "+top.shape.String(), "write sections like  devices:  and  api:")
		return root
	}
	return top
}

// decodeNode reads the next document. The library promises not to panic and has
// broken that before, so a panic on a user's input is turned into an error.
func decodeNode(dec *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("yaml: this can't be read")
		}
	}()
	doc = new(yaml.Node)
	return doc, dec.Decode(doc)
}

// syntax adds an error of the YAML library, which knows only the line.
func (p *parser) syntax(b []byte, err error) {
	at, what := place{file: p.file, line: 1}, err.Error()
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		what = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			at.line = n
			if countsFromZero.MatchString(what) {
				at.line++
			}
		}
	}
	cure := "see the indentation, quotes and brackets of this line and the one before"
	lines := bytes.Split(b, []byte("\n"))
	if at.line <= len(lines) {
		line := string(lines[at.line-1])
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		at.col = len(indent) + 1
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
			at.col = tab + 1
			cure = "indent with spaces, not with a tab"
		}
	}
	p.probs.add(at, "not YAML: "+what, cure)
}

func (p *parser) place(n *yaml.Node) place {
	return place{file: p.file, line: n.Line, col: n.Column}
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// node turns y into a node. What config does not take becomes a null of which
// the problem is already told.
func (p *parser) node(y *yaml.Node, depth int) *node {
	n := &node{shape: null, at: p.place(y)}
	switch {
	case depth > maxDepth:
		p.probs.add(n.at, fmt.Sprintf("nested over %d deep", maxDepth), "make it flatter")
		return refused(n)
	case y.Kind == yaml.AliasNode || y.Anchor != "":
		p.probs.add(n.at, "anchors and aliases (& and *) are not taken", "write the value out; uplink_defaults holds what uplinks share")
		return refused(n)
	case y.Style&yaml.TaggedStyle != 0:
		p.probs.add(n.at, "the tag "+quote(y.Tag)+" is not taken", "take it out")
		return refused(n)
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.shape = dict
		p.dict(n, y, depth)
	case yaml.SequenceNode:
		n.shape = list
		for _, c := range y.Content {
			n.items = append(n.items, p.node(c, depth+1))
		}
	case yaml.ScalarNode:
		if isNull(y) {
			break
		}
		n.shape, n.text, n.tag = scalar, y.Value, y.ShortTag()
		n.quoted = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	}
	return n
}

// refused marks a null whose problem is told, so that the check stays silent.
func refused(n *node) *node {
	n.tag = "refused"
	return n
}

// dict fills n with the keys of the mapping y.
func (p *parser) dict(n *node, y *yaml.Node, depth int) {
	if len(y.Content)/2 > maxKeys {
		p.probs.add(n.at, fmt.Sprintf("there are over %d keys", maxKeys), "take some out")
		return
	}
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		at := p.place(k)
		switch first := n.entry(k.Value); {
		case k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0:
			p.probs.add(at, "a key must be plain text", "write  name: value")
		case k.ShortTag() == "!!merge":
			p.probs.add(at, "merging with << is not taken", "write the keys out; uplink_defaults holds what uplinks share")
		case k.ShortTag() == "!!null" || k.Value == "":
			p.probs.add(at, "a key has no name", "write  name: value")
		case strings.IndexFunc(k.Value, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0:
			p.probs.add(at, "the key "+quote(k.Value)+" has a control character in it", "take it out")
		case first != nil:
			p.probs.add(at, fmt.Sprintf("%s is already in line %d", quote(k.Value), first.at.line), "keep one of them")
		default:
			n.keys = append(n.keys, entry{key: k.Value, at: at, val: p.node(v, depth+1)})
		}
	}
}
