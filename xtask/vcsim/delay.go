//go:build !debian

package main

import "github.com/vmware/govmomi/simulator"

// delayTasks lets a task run as long as the delay of the method that made it.
func delayTasks(delays map[string]int) {
	simulator.TaskDelay.MethodDelay = delays
}
