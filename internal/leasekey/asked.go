package leasekey

import clientv3 "go.etcd.io/etcd/client/v3"

// asked is what others want of a key. It is guarded by the key's mutex.
type asked struct {
	wanted bool          // somebody has asked for it
	force  bool          // and would not wait for the holder to answer
	closed chan struct{} // once wanted; nil while nobody looks
	tell   func()        // once wanted
	holder *Hold         // nil while it waits or passes from one to the next
}

// ask is told by the session that somebody wants the key back. What holds by it,
// or waits with it, ends at once if it is by force; all else is up to whoever
// releases it next, who finds it Wanted.
func (k *Key) ask(force bool) {
	k.mu.Lock()
	first := !k.wanted
	k.wanted, k.force = true, k.force || force
	if first && k.closed != nil {
		close(k.closed)
	}
	tell, holder, wake := k.tell, k.holder, k.onLoss
	k.mu.Unlock()
	if first && tell != nil {
		tell()
	}
	switch {
	case !force:
	case holder != nil:
		holder.Revoke(ErrForced)
	case wake != nil:
		wake(ErrForced) // a waiter gives its place up
	}
}

// Wanted tells whether somebody has asked for the key. It must not be handed on
// to another local holder then, nor kept.
func (k *Key) Wanted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wanted
}

// Asked returns a channel that is closed once somebody has asked for the key.
func (k *Key) Asked() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed == nil {
		k.closed = make(chan struct{})
		if k.wanted {
			close(k.closed)
		}
	}
	return k.closed
}

// OnAsk has tell called when somebody asks for the key, at once if somebody has.
func (k *Key) OnAsk(tell func()) {
	k.mu.Lock()
	k.tell = tell
	wanted := k.wanted
	k.mu.Unlock()
	if wanted {
		tell()
	}
}

// heldBy makes h what ends when the key is lost or taken away. It returns why
// if that has happened.
func (k *Key) heldBy(h *Hold) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.lost != nil:
		return k.lost
	case k.force:
		return ErrForced
	}
	k.onLoss, k.holder = h.lose, h
	return nil
}

// letGo says that nobody holds by the key any more. A loss or a request from
// here on finds nobody; one that came just before has found the hold ended, and
// the release says so.
func (k *Key) letGo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.onLoss, k.holder = nil, nil
}

// along is what goes in the transaction that removes the key, however the key's
// removal turns out.
func (k *Key) along() []clientv3.Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	var ops []clientv3.Op
	if k.wanted {
		ops = append(ops, clientv3.OpDelete(k.epoch.Request(k.name)))
	}
	if k.marker != "" {
		ops = append(ops, k.unmark())
	}
	return ops
}
