// Package edgetest is what a test needs to stand in for a machine and a disk.
//
// A Board is a board whose boot, clocks and sync the test sets; another Board on
// the same folder is another boot. A Memory is a store in RAM with a failure dial,
// for what a real store can't be made to do on the spot. A Rig is the real
// thing from end to end: a store in a folder, a clock, a pump that runs, and a log
// to read with.
package edgetest
