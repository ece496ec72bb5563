package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// blockFile serves a blockImage as one file, for a loop device to sit on. Nothing
// of it is kept in the page cache: what the block layer sends comes here, in its
// order.
type blockFile struct {
	fs.Inode
	image *blockImage
}

var (
	_ fs.NodeOpener    = (*blockFile)(nil)
	_ fs.NodeGetattrer = (*blockFile)(nil)
	_ fs.NodeSetattrer = (*blockFile)(nil)
	_ fs.NodeReader    = (*blockFile)(nil)
	_ fs.NodeWriter    = (*blockFile)(nil)
	_ fs.NodeFsyncer   = (*blockFile)(nil)
	_ fs.NodeFlusher   = (*blockFile)(nil)
	_ fs.NodeAllocater = (*blockFile)(nil)
)

// blockFileName is the file's name in its mount.
const blockFileName = "disk"

// serveBlocks mounts a file system with that one file.
func serveBlocks(path string, image *blockImage) (*fuse.Server, error) {
	root := &fs.Inode{}
	second := time.Second
	server, err := fs.Mount(path, root, &fs.Options{
		EntryTimeout: &second, AttrTimeout: &second,
		OnAdd: func(ctx context.Context) {
			file := root.NewPersistentInode(ctx, &blockFile{image: image}, fs.StableAttr{Mode: syscall.S_IFREG})
			root.AddChild(blockFileName, file, true)
		},
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, FsName: "fieldpost-prove", Name: "blocks",
			MaxWrite: 1 << 20, DisableXAttrs: true, DisableSplice: true, // a pipe holds a little less than that
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: serve block device: %w", errNoDisk, err)
	}
	return server, nil
}

func (f *blockFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (f *blockFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size, out.Blksize = syscall.S_IFREG|0o600, uint64(len(f.image.bytes)), 4096
	out.Blocks = out.Size / 512
	return 0
}

// Setattr takes times and modes, which mean nothing here; the size is fixed.
func (f *blockFile) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok && size != uint64(len(f.image.bytes)) {
		return syscall.EPERM
	}
	return f.Getattr(ctx, h, out)
}

func (f *blockFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(dest[:f.image.read(dest, off)]), 0
}

func (f *blockFile) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if e := f.image.write(data, off); e != 0 {
		return 0, e
	}
	return uint32(len(data)), 0
}

func (f *blockFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return f.image.flush()
}

// Flush is close(2), which promises nothing.
func (f *blockFile) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

// Allocate is how the loop device sends a discard or a write of zeros.
func (f *blockFile) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	const punchHole, zeroRange = 0x02, 0x10
	if mode&(punchHole|zeroRange) == 0 {
		return 0 // it is all allotted
	}
	return f.image.zero(int64(off), int64(size))
}
