package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// member is a file of a package as it was read back.
type member struct {
	head *tar.Header
	text string
}

// packageRead is a package taken apart.
type packageRead struct {
	order   []string // of the outer archive
	control map[string]member
	data    map[string]member
}

func readPackage(t *testing.T, deb []byte) packageRead {
	t.Helper()
	const magic, header = "!<arch>\n", 60
	if !bytes.HasPrefix(deb, []byte(magic)) {
		t.Fatal("the package is no ar archive")
	}
	p := packageRead{}
	for rest := deb[len(magic):]; len(rest) >= header; {
		name := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		if err != nil || header+size > len(rest) {
			t.Fatalf("%s: its size is %q, %v", name, rest[48:58], err)
		}
		body := rest[header : header+size]
		p.order = append(p.order, name)
		switch name {
		case "control.tar.gz":
			p.control = readTar(t, body)
		case "data.tar.gz":
			p.data = readTar(t, body)
		case "debian-binary":
			if string(body) != "2.0\n" {
				t.Errorf("debian-binary is %q", body)
			}
		}
		rest = rest[min(header+size+size%2, len(rest)):]
	}
	return p
}

// readTar reads a compressed tar; names begin with / where they begin with ./ there.
func readTar(t *testing.T, packed []byte) map[string]member {
	t.Helper()
	r := tar.NewReader(strings.NewReader(unzip(t, string(packed))))
	out := map[string]member{}
	for {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(head.Name, ".")
		if _, twice := out[name]; twice || name == head.Name {
			t.Errorf("%q is there twice, or does not begin with ./", head.Name)
		}
		out[name] = member{head, string(text)}
	}
}

func unzip(t *testing.T, packed string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if z.Name != "" || !z.ModTime.IsZero() {
		t.Errorf("the compressed file has a name %q or a time %v", z.Name, z.ModTime)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
