package main

import "syscall"

// tie has the program killed when the tool ends without having waited for it.
func tie(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
