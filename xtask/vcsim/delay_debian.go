//go:build debian

package main

// delayTasks does nothing: in govmomi 0.24.2 only the call itself can be delayed.
func delayTasks(map[string]int) {}
