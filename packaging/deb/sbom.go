package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// bom is what the binary is made of, in CycloneDX 1.6 (ECMA-424): the format that
// scanners of vulnerabilities read.
type bom struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   bomMetadata `json:"metadata"`
	Components []component `json:"components"`
}

type bomMetadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type    string    `json:"type"`
	Name    string    `json:"name"`
	Version string    `json:"version"`
	PURL    string    `json:"purl,omitempty"`
	Hashes  []bomHash `json:"hashes,omitempty"`
}

type bomHash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

// sbom tells what the binary holds, as the Go command noted in it.
func (o options) sbom() (string, error) {
	info, err := buildinfo.ReadFile(o.Binary)
	if err != nil {
		return "", fmt.Errorf("read binary: %w", err)
	}
	raw, err := os.ReadFile(o.Binary)
	if err != nil {
		return "", fmt.Errorf("read binary: %w", err)
	}
	sum := sha256.Sum256(raw)
	b := bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: bomMetadata{
		Timestamp: o.MTime.UTC().Format(time.RFC3339),
		Component: component{Type: "application", Name: "fieldpost", Version: string(o.Version), PURL: "pkg:deb/fieldpost@" + string(o.Version) + "?arch=" + o.Arch,
			Hashes: []bomHash{{"SHA-256", hex.EncodeToString(sum[:])}}},
	}}
	b.Components = append(b.Components, library("stdlib", strings.TrimPrefix(info.GoVersion, "go")))
	for _, m := range info.Deps {
		b.Components = append(b.Components, library(replaced(m).Path, replaced(m).Version))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(b); err != nil {
		return "", fmt.Errorf("write bill of materials: %w", err)
	}
	return out.String(), nil
}

// replaced is the module that was really built.
func replaced(m *debug.Module) *debug.Module {
	if m.Replace != nil {
		return m.Replace
	}
	return m
}

func library(name, version string) component {
	return component{Type: "library", Name: name, Version: version, PURL: "pkg:golang/" + name + "@" + version}
}
