package embedded

import "errors"

var (
	// ErrPortTaken is returned by Start and Restart when a port that has to be used, because it was given or
	// because the members have written it into their data, belongs to somebody else.
	ErrPortTaken = errors.New("port taken")

	// ErrDirInUse is returned by Start when another cluster, of this process or of another one, works in the folder.
	ErrDirInUse = errors.New("folder in use")

	// ErrDirMismatch is returned by Start when the folder holds something else than was asked for: a cluster of
	// another size or with other ports, a cluster with a password when none is given, or no cluster at all.
	ErrDirMismatch = errors.New("folder does not match")

	// ErrClosed is returned by Stop, Kill and Restart once Close has been called.
	ErrClosed = errors.New("cluster closed")
)
