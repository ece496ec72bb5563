package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"fieldpost/edge"
	"fieldpost/queue"
)

// FileConfig is the config of the sender file.
type FileConfig struct {
	Path   string    `mapstructure:"file"`
	Rotate edge.Size `mapstructure:"rotate"` // a file this large becomes PATH.1; 100 MB
	Keep   int       `mapstructure:"keep"`   // files that were rotated and are kept; 10
}

func fileType() SenderType {
	return SenderType{
		Name:    "file",
		Doc:     "appends events to a file as NDJSON; acknowledged once they are flushed to the disk",
		Example: "archive: {file: /media/usb/events.ndjson, rotate: 100MB, keep: 10}",
		Config:  func() any { return &FileConfig{Rotate: 100_000_000, Keep: 10} },
		New: func(env SenderEnv, config any) (Sender, error) {
			c, ok := config.(*FileConfig)
			if !ok {
				return nil, fmt.Errorf("make file sender: its config is a %T", config)
			}
			return newFileSender(*c)
		},
	}
}

// fileSender is the simplest peer there is: a file, one line a message.
type fileSender struct{ conf FileConfig }

var _ Sender = (*fileSender)(nil)

func newFileSender(conf FileConfig) (*fileSender, error) {
	if err := conf.Validate(); err != nil {
		return nil, err
	}
	return &fileSender{conf}, nil
}

// Validate tells what the types of the fields can't.
func (c FileConfig) Validate() error {
	switch {
	case !filepath.IsAbs(c.Path):
		return keyed("file", fmt.Errorf("file %q: write the whole path, from /", c.Path))
	case c.Rotate != 0 && c.Rotate < 4096:
		return keyed("rotate", fmt.Errorf("rotate is %v: it must be at least 4kB, or 0 for never", c.Rotate))
	case c.Keep < 1 && c.Rotate != 0:
		return keyed("keep", fmt.Errorf("keep is %d: it must be at least 1, or delivered events are deleted", c.Keep))
	}
	return nil
}

// Address is the file's path.
func (f *fileSender) Address() string { return f.conf.Path }

// Connect opens the file and cuts off what a power cut left of a line: it was
// never acknowledged.
func (f *fileSender) Connect(context.Context) (Conn, error) {
	c := &fileConn{conf: f.conf, acks: make(chan Ack, 64), lost: make(chan error, 1), done: make(chan struct{})}
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

// fileConn is an open file. Send writes and flushes on the caller's goroutine.
type fileConn struct {
	conf FileConfig
	enc  encoder
	acks chan Ack
	lost chan error
	done chan struct{}
	once sync.Once

	mu   sync.Mutex // held by Send as a whole, and by Close
	file *os.File
	size int64
	buf  []byte
}

var _ Conn = (*fileConn)(nil)

func (c *fileConn) open() error {
	file, err := os.OpenFile(c.conf.Path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	size, err := wholeLines(file)
	if err == nil {
		err = file.Truncate(size)
	}
	if err == nil {
		_, err = file.Seek(size, io.SeekStart)
	}
	if err == nil {
		err = queue.SyncFolder(filepath.Dir(c.conf.Path))
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("open %s: %w", c.conf.Path, err)
	}
	c.file, c.size = file, size
	return nil
}

// wholeLines is the length of a file up to its last newline.
func wholeLines(file *os.File) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(int64(len(buf)), end)
		if _, err := file.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// Send writes the batch, flushes it to the disk and acknowledges it.
func (c *fileConn) Send(ctx context.Context, b Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	acks, err := c.write(b)
	if err != nil {
		return err
	}
	for _, a := range acks {
		select {
		case c.acks <- a:
		case <-c.done:
			return ErrNotConnected
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *fileConn) write(b Batch) ([]Ack, error) {
	if c.file == nil {
		return nil, ErrNotConnected
	}
	if c.conf.Rotate > 0 && c.size >= int64(c.conf.Rotate) {
		if err := c.rotate(); err != nil {
			return nil, fmt.Errorf("rotate %s: %w", c.conf.Path, err)
		}
	}
	c.buf = c.buf[:0]
	acks := make([]Ack, 0, 1)
	for _, m := range c.enc.messages(b, nil) {
		c.buf = append(append(c.buf, m.body...), '\n')
		if n := len(acks); n > 0 && acks[n-1].Range.To+1 == m.covers.From {
			acks[n-1].Range.To, acks[n-1].Events = m.covers.To, acks[n-1].Events+m.events
			continue
		}
		acks = append(acks, Ack{Ring: b.Ring, Range: queue.Range{From: m.covers.From, To: m.covers.To}, Events: m.events})
	}
	n, err := c.file.Write(c.buf)
	c.size += int64(n)
	if err == nil {
		err = c.file.Sync()
	}
	if err != nil {
		// What a failed flush left behind can't be trusted: open again.
		c.file.Close()
		c.file = nil
		return nil, fmt.Errorf("write to %s: %w", c.conf.Path, err)
	}
	return acks, nil
}

// rotate makes PATH.1 of PATH, PATH.2 of PATH.1 and so on; the oldest is deleted.
func (c *fileConn) rotate() error {
	name := func(i int) string { return c.conf.Path + "." + strconv.Itoa(i) }
	for i := c.conf.Keep; i > 1; i-- {
		if err := os.Rename(name(i-1), name(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(c.conf.Path, name(1)); err != nil {
		return err
	}
	if err := c.file.Close(); err != nil {
		return err
	}
	c.file = nil
	return c.open()
}

func (c *fileConn) Acks() <-chan Ack   { return c.acks }
func (c *fileConn) Lost() <-chan error { return c.lost }

// Close closes the file. All that was acknowledged is on the disk already.
func (c *fileConn) Close(context.Context) error {
	var err error
	c.once.Do(func() {
		close(c.done) // ends a Send that waits for its acknowledgements to be taken
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.acks)
		if c.file != nil {
			err = c.file.Close()
			c.file = nil
		}
	})
	return err
}
