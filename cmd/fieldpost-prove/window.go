package main

import "bufio"

// fillWindow sends messages over and over until stop is closed, with at most
// window of them unanswered, and tells how many were answered. Each burst of
// answers is read whole and the window filled again with one write: what serves
// best a peer that answers in bursts. Fieldpost and Redis are both driven by it.
func fillWindow(messages [][]byte, window int, w *bufio.Writer, r *bufio.Reader, answer func() error, stop <-chan struct{}) (answered int, err error) {
	for sent := 0; ; {
		select {
		case <-stop:
			return answered, nil
		default:
		}
		for ; sent-answered < window; sent++ {
			if _, err := w.Write(messages[sent%len(messages)]); err != nil {
				return answered, err
			}
		}
		if err := w.Flush(); err != nil {
			return answered, err
		}
		for {
			if err := answer(); err != nil {
				return answered, err
			}
			answered++
			if r.Buffered() == 0 || answered == sent {
				break
			}
		}
	}
}
