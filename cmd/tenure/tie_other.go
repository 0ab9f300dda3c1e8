//go:build unix && !linux

package main

import "syscall"

// tie does nothing: only Linux ends a program together with whoever has started it.
func tie(*syscall.SysProcAttr) {}
