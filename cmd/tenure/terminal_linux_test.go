package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTheProgramDiesWithTheTool(t *testing.T) {
	tool := launch(t, cluster, "lock", t.Name(), "--ttl", "1s", "--", "SELF", "program-stubborn", "alone")
	tool.line()
	tool.signal(syscall.SIGKILL)
	require.Equal(t, -1, tool.code(), "code returns when both have ended")
}

// TestAProgramHasTheTerminal: it reads from it as if it had been started without the tool, Ctrl-Z does not leave it
// stopped, and Ctrl-C ends it.
func TestAProgramHasTheTerminal(t *testing.T) {
	screen, keyboard := openTerminal(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(within(t), self, "lock", t.Name(), "--", self, "program-echo")
	cmd.Env = append(os.Environ(), asTool+"=1", "TENURE_ENDPOINTS="+cluster.Endpoints()[0])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = keyboard, keyboard, keyboard
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, keyboard.Close())

	lines := bufio.NewScanner(screen)
	expect := func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasSuffix(lines.Text(), text) { // before it stands what was typed
				return
			}
		}
		t.Fatalf("the terminal closed before %q", text)
	}
	expect("ready")
	fmt.Fprint(screen, "\x1a") // Ctrl-Z
	fmt.Fprint(screen, "hello\n")
	expect("got hello")
	fmt.Fprint(screen, "\x03") // Ctrl-C
	expect("interrupt")
	require.ErrorContains(t, cmd.Wait(), "exit status 5")
}

// openTerminal returns both ends of a new terminal.
func openTerminal(t *testing.T) (screen, keyboard *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0))
	keyboard, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	return screen, keyboard
}
