package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Redis is a real redis-server that flushes its log before it answers.
type Redis struct {
	Addr string
	*Proc
	dir string
}

// startRedis runs one on loopback with appendfsync always and no snapshots.
func startRedis(ctx context.Context, dir, addr string) (*Redis, error) {
	var err error
	if addr == "" {
		if addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make Redis's folder: %w", err)
	}
	host, port, _ := strings.Cut(addr, ":")
	// The log is rewritten when it doubles, as by default.
	p, err := startProc(filepath.Join(dir, "redis.log"), "redis-server", "--bind", host, "--port", port,
		"--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no")
	if err != nil {
		return nil, err
	}
	r := &Redis{Addr: addr, Proc: p, dir: dir}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("start redis: no answer in 30 s"))
	defer cancel()
	if err := r.waitReady(ctx); err != nil {
		_ = p.Kill()
		return nil, err
	}
	return r, nil
}

// waitReady waits until it answers a write: before that it loads its log.
func (r *Redis) waitReady(ctx context.Context) error {
	if err := waitDial(ctx, r.Proc, r.Addr); err != nil {
		return err
	}
	c, err := dialRedis(r.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return poll(ctx, time.Millisecond, func() (bool, error) {
		err := c.do("SET", "ready", "1")
		if err != nil && strings.Contains(err.Error(), "LOADING") {
			return false, nil
		}
		return err == nil, err
	})
}

// redisConn speaks RESP, Redis's protocol, as far as the bench needs it.
type redisConn struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

func dialRedis(addr string) (*redisConn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("dial redis: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return &redisConn{Conn: c, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 64<<10)}, nil
}

// do runs one command and reads its reply.
func (c *redisConn) do(args ...string) error {
	if _, err := c.w.Write(respCommand(args...)); err != nil {
		return err
	}
	if err := c.w.Flush(); err != nil {
		return err
	}
	return c.reply()
}

// reply reads one reply of any type but an array; an error reply is an error.
func (c *redisConn) reply() error {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read redis's reply: %w", err)
	}
	switch line[0] {
	case '+', ':':
		return nil
	case '-':
		return fmt.Errorf("redis refused: %s", strings.TrimSpace(string(line[1:])))
	case '$':
		n, err := strconv.Atoi(strings.TrimSpace(string(line[1:])))
		if err != nil || n < 0 {
			return err
		}
		_, err = c.r.Discard(n + 2)
		return err
	default:
		return fmt.Errorf("read redis's reply: unknown type %q", line[0])
	}
}

// respCommand is a command in RESP.
func respCommand(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

// redisPushes are the corpus as commands, encoded once. RPUSH is the cheapest
// command that keeps every value in order; a stream's XADD costs Redis more.
func redisPushes(c *Corpus) [][]byte {
	out := make([][]byte, len(c.lines))
	for i, l := range c.lines {
		out[i] = respCommand("RPUSH", "events", string(l))
	}
	return out
}

// produceRedis pushes events over one connection until stop is closed, with at
// most window of them unanswered, and tells how many were answered.
func produceRedis(addr string, pushes [][]byte, window int, stop <-chan struct{}) (int, error) {
	c, err := dialRedis(addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return fillWindow(pushes, window, c.w, c.r, c.reply, stop)
}
