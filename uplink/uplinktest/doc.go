// Package uplinktest proves senders and what stands behind them. It holds the
// conformance suite that every sender passes (Run), a real mosquitto to test
// against (StartMosquitto), and a TCP proxy with a failure dial (Proxy).
//
//	sender  -->  Proxy  -->  mosquitto
//	             freeze, cut, delay, hold acknowledgements
//
// Nothing here sleeps: what has to be waited for is polled with a deadline.
package uplinktest
