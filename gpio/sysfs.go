package gpio

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tree is where proc and sys are: "/", or a test's folder.
type tree string

func (t tree) path(name string) string { return filepath.Join(string(t), name) }

// glob lists files below the tree in a stable order; none where nothing matches.
func (t tree) glob(pattern string) []string {
	files, _ := filepath.Glob(t.path(pattern)) // it fails on a bad pattern only
	return files
}

// readText reads a small file of the kernel's, without the white space around it. A
// read of sysfs may take as long as the part behind it.
func readText(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// textOf is readText, "" where the file can't be read.
func textOf(file string) string {
	s, _ := readText(file)
	return s
}

// readNumber reads a file with one integer in it.
func readNumber(file string) (int64, error) {
	s, err := readText(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s has no number: %.40q", file, s)
	}
	return n, nil
}
