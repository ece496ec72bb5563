package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// flushesAlone is how many times a second the disk takes a block of 4 KiB over
// what is written already, and flushes it: what no store on it can be faster than
// with one event in flight.
func flushesAlone(dir string, lasts time.Duration) (float64, error) {
	const block, size = 4096, 8 << 20
	f, err := os.Create(filepath.Join(dir, "alone"))
	if err != nil {
		return 0, fmt.Errorf("make file: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, size)); err != nil {
		return 0, fmt.Errorf("write file: %w", err)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("flush file: %w", err)
	}
	b := make([]byte, block)
	began, count := time.Now(), 0
	for time.Since(began) < lasts {
		if _, err := f.WriteAt(b, int64(count)*block%size); err != nil {
			return 0, fmt.Errorf("write file: %w", err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, fmt.Errorf("flush file: %w", err)
		}
		count++
	}
	return float64(count) / time.Since(began).Seconds(), nil
}
