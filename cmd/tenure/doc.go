/*
Tenure runs programs under a distributed lock and shows who holds what.

	tenure lock NAME [flags] -- COMMAND [ARGS...]   run a program while holding a lock
	tenure queue NAME                               who holds a lock, and who waits for it
	tenure release NAME [--force]                   ask the holder to give a lock up, or take it away
	tenure sessions                                 the live sessions of a namespace
	tenure version

# What lock promises

	   SIGTERM           deadline    SIGKILL    etcd can give the lock to somebody else
	      |                  |          |          |
	------+------------------+----------+----------+------> time
	      |<---------- grace ---------->|
	                         |<------ margin ----->|

The program runs in a process group of its own, and only while the lock is held:

  - It starts once the lock is held, and the lock is given back after it has ended, never before.
  - When the lock cannot be kept, the whole group gets SIGTERM, and after the grace SIGKILL. The session stops trusting
    its lease at a deadline that lies a margin before the earliest instant at which etcd can let it run out: a tenth of
    the TTL, at least 200 ms and at most 1 s. SIGKILL falls in the middle of the margin. With the default grace, half of
    the margin, SIGTERM comes at the deadline. A longer grace is taken from the time before: SIGTERM comes
    that much earlier, at the price of giving up on an interruption that might have been survived.
  - SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 sent to the tool are passed on to the group, and the tool waits
    for the program to end. It sets no limit to that: the lock is kept, so waiting is safe.
  - With --yield, the program gets SIGTERM when somebody asks for the lock with "tenure release". It may take its time:
    the lock is kept until it has ended.
  - When somebody takes the lock away with "tenure release --force", the whole group gets SIGTERM, and SIGKILL after
    the grace, but half of the margin at most; the lock is free a margin after SIGTERM, or when the program has ended.
  - On Linux the program itself is killed when the tool is killed.

It does not promise that two programs never overlap, because no lock with a time limit can:

  - If the tool is stopped (SIGSTOP, a debugger) and the program is not, the lock runs out while the program goes on. The
    program is told to stop once the tool goes on. Ctrl-Z is no such case: neither the tool nor the program is
    suspended by it. If the whole machine is suspended, the program is told within a tenth of the TTL after it wakes up.
  - If the tool does not get to run for half of the margin in the very moment when the lock is lost, SIGKILL is late by
    as much; a process in an uninterruptible system call dies when that returns.
  - If somebody revokes the lease or deletes the key by hand, etcd has given the lock away before the tool can
    know. It learns of a revoked lease at once and of a deleted key within a third of the TTL; the program then has the
    grace to end.
  - If the tool is killed, what the program has started is not killed with it. What puts itself into another process
    group, as daemons and the jobs of interactive shells do, is beyond the tool's reach in any case, and what the
    program leaves behind in the background when it ends by itself is not waited for.

What must not happen even then needs the fencing token: let the program pass TENURE_TOKEN on to what it writes to, and have
smaller tokens than the largest seen refused there; or compare the create revision of TENURE_KEY with TENURE_REVISION in
the program's own etcd transactions.

# Environment of the program

	TENURE_LOCK      the lock's name, or the key prefix given by --at-key
	TENURE_TOKEN     the fencing token: every later holder's is larger
	TENURE_KEY       the key in etcd that stands for this hold
	TENURE_REVISION  that key's create revision

# Exit codes

	0-255  the program's own
	128+n  the program, or the tool before it ran one, was ended by signal n
	120    bad usage
	121    the lock was not had: it is taken (--try), or the time for waiting passed (--wait); or, of release, it is
	       still held
	122    the lock was lost, or could not be kept, while the program ran
	123    etcd could not be reached
	125    something else went wrong, such as etcd refusing the user
	126    the program could not be started
	127    the program was not found
*/
package main
