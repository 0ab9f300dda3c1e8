//go:build unix

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// programs are what the tool runs under a lock in these tests. They say on standard output what happens to them.
var programs = map[string]func(args []string) int{
	"program-exit":        exitWith,
	"program-environment": printEnvironment,
	"program-graceful":    endGracefully,
	"program-stubborn":    refuseToEnd,
	"program-echo":        echo,
}

func exitWith(args []string) int {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		panic(err)
	}
	return code
}

// printEnvironment prints a line for each variable and ends when it is told to.
func printEnvironment([]string) int {
	for _, name := range []string{"TENURE_LOCK", "TENURE_TOKEN", "TENURE_KEY", "TENURE_REVISION"} {
		fmt.Println(os.Getenv(name))
	}
	readLine()
	return 0
}

// endGracefully begins to end with the first signal, and has ended once it is told to.
func endGracefully([]string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	fmt.Println("ready")
	fmt.Println(<-signals)
	readLine()
	return 7
}

// refuseToEnd takes no notice of signals, nor does what it starts. It prints its process id once it is ready.
func refuseToEnd(args []string) int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if len(args) == 0 {
		child := exec.Command(os.Args[0], "program-stubborn", "alone")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	fmt.Println(os.Getpid())
	for range signals {
	}
	return 0
}

// echo reads a line and repeats it, and then waits for a signal to end it.
func echo([]string) int {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT)
	fmt.Println("ready")
	fmt.Printf("got %s\n", readLine())
	fmt.Println(<-interrupted)
	return 5
}

func readLine() string {
	lines := bufio.NewScanner(os.Stdin)
	lines.Scan()
	return lines.Text()
}
