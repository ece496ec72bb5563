//go:build amd64 || arm64

package queue

import (
	"os"
	"syscall"
)

// fadvDontNeed is POSIX_FADV_DONTNEED.
const fadvDontNeed = 4

// dropCache lets go of a file's clean pages in memory, as far as nobody has mapped
// them. It is an advice: whether it was taken is not told.
func dropCache(f *os.File) {
	_, _, _ = syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, fadvDontNeed, 0, 0)
}
