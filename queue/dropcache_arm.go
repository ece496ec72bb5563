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
	_, _, _ = syscall.Syscall6(syscall.SYS_ARM_FADVISE64_64, f.Fd(), fadvDontNeed, 0, 0, 0, 0)
}
