package main

import (
	"context"
	"maps"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// posixNode is a file or folder of a posixDisk as FUSE knows it.
type posixNode struct {
	fs.Inode
	posixImage // the disk's mu guards it
	disk       *posixDisk
	id         int
}

var (
	_ fs.NodeGetattrer = (*posixNode)(nil)
	_ fs.NodeSetattrer = (*posixNode)(nil)
	_ fs.NodeOpener    = (*posixNode)(nil)
	_ fs.NodeReader    = (*posixNode)(nil)
	_ fs.NodeWriter    = (*posixNode)(nil)
	_ fs.NodeFsyncer   = (*posixNode)(nil)
	_ fs.NodeFlusher   = (*posixNode)(nil)
	_ fs.NodeCreater   = (*posixNode)(nil)
	_ fs.NodeMkdirer   = (*posixNode)(nil)
	_ fs.NodeUnlinker  = (*posixNode)(nil)
	_ fs.NodeRenamer   = (*posixNode)(nil)
	_ fs.NodeLinker    = (*posixNode)(nil)
	_ fs.NodeStatfser  = (*posixNode)(nil)
)

func (n *posixNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.attr(&out.Attr)
	return 0
}

// attr fills in what stat tells. The disk's mu must be held.
func (n *posixNode) attr(out *fuse.Attr) {
	out.Mode, out.Nlink, out.Blksize = syscall.S_IFREG|0o600, 1, diskPage
	if n.folder {
		out.Mode = syscall.S_IFDIR | 0o700
	}
	out.Size = uint64(n.data.size)
	for _, p := range n.data.pages {
		if p != nil {
			out.Blocks += diskPage / 512
		}
	}
}

func (n *posixNode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		n.data.resize(int64(size))
		n.disk.did()
	}
	n.attr(&out.Attr)
	return 0
}

func (n *posixNode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (n *posixNode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	return fuse.ReadResultData(dest[:n.data.get(dest, off)]), 0
}

func (n *posixNode) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.data.put(data, off)
	n.disk.did()
	return uint32(len(data)), 0
}

// Fsync makes a file's content durable, or a folder's names.
func (n *posixNode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.kept, n.safe = n.data.clone(), maps.Clone(n.names)
	n.disk.did()
	return 0
}

// Flush is close(2), which promises nothing.
func (n *posixNode) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

func (n *posixNode) Create(ctx context.Context, name string, _ uint32, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return n.enter(ctx, name, n.disk.node(false), out), nil, 0, 0
}

func (n *posixNode) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.enter(ctx, name, n.disk.node(true), out), 0
}

// enter puts a new node into a folder.
func (n *posixNode) enter(ctx context.Context, name string, child *posixNode, out *fuse.EntryOut) *fs.Inode {
	mode := uint32(syscall.S_IFREG)
	if child.folder {
		mode = syscall.S_IFDIR
	}
	inode := n.NewPersistentInode(ctx, child, fs.StableAttr{Mode: mode})
	n.name(name, child, out)
	return inode
}

// name gives a node a name in the folder.
func (n *posixNode) name(name string, child *posixNode, out *fuse.EntryOut) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	n.names[name] = child.id
	child.attr(&out.Attr)
	n.disk.did()
}

func (n *posixNode) Link(_ context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child, ok := target.(*posixNode)
	if !ok {
		return nil, syscall.EXDEV
	}
	n.name(name, child, out)
	return child.EmbeddedInode(), 0
}

func (n *posixNode) Unlink(_ context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	delete(n.names, name)
	n.disk.did()
	return 0
}

func (n *posixNode) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	parent, ok := to.(*posixNode)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	parent.names[newName] = n.names[name]
	if parent != n || newName != name {
		delete(n.names, name)
	}
	n.disk.did()
	return 0
}

// Statfs says that there is room.
func (n *posixNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.Blocks = diskPage, diskPage, 1<<20
	out.Bfree, out.Bavail, out.NameLen = out.Blocks, out.Blocks, 255
	return 0
}
