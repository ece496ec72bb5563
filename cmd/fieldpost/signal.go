package main

import (
	"context"
	"os/signal"
	"syscall"
)

// untilSignal is a context that an interrupt or a termination ends. The second
// signal ends the process, as if nobody had listened.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
