package admission

// A Key is a member of the queue as read from etcd.
type Key struct {
	Name   string
	Create int64 // its create revision: its identity, and its place
	Mod    int64 // larger if it was written again
	Weight int64 // of permits
	Writer bool  // it was created as a writer
}

// again tells whether the key was written again after its creation: a writer
// has become a reader, a waiter for permits was admitted.
func (k Key) again() bool { return k.Mod > k.Create }

// Writes tells whether it is a writer that has not become a reader.
func (k Key) Writes() bool { return k.Writer && !k.again() }

// An Action is what has to be done next.
type Action int

// What a rule can decide.
const (
	Look     Action = iota // read again who is ahead
	Admitted               // nobody is in the way
	Await                  // wait until Step.Behind is gone or written again
	Room                   // wait until anything ahead is gone, or the limit changes
)

// A Step is a decision.
type Step struct {
	Do     Action
	Behind Key
	// Alone says that nobody else is in the way: the end of Behind is the
	// admission.
	Alone bool
}

// read decides on a reader: writers ahead are in its way.
func read(ahead []Key) Step {
	return behindLast(ahead, Key.Writes)
}

// write decides on a writer: everybody ahead is in its way. Without the whole
// view it knows only the nearest.
func write(ahead []Key, whole bool) Step {
	step := behindLast(ahead, func(Key) bool { return true })
	step.Alone = step.Alone && whole
	return step
}

func behindLast(ahead []Key, inTheWay func(Key) bool) Step {
	step := Step{Do: Admitted}
	count := 0
	for _, k := range ahead {
		if !inTheWay(k) {
			continue
		}
		if count++; k.Create > step.Behind.Create {
			step.Behind = k
		}
	}
	if count > 0 {
		step.Do, step.Alone = Await, count == 1
	}
	return step
}

// A Limit is what the users of permits have agreed on.
type Limit struct {
	N     int64
	Since int64 // the revision at which it came into force
}

// permits decides on a request for permits, given all keys ahead of it. Whoever
// is ahead and does not hold yet goes first, however small the request.
func permits(limit Limit, weight int64, ahead []Key) Step {
	var sum int64
	var last Key
	for _, k := range ahead {
		sum += k.Weight
		if k.Create > last.Create {
			last = k
		}
	}
	switch {
	case sum+weight <= limit.N:
		return Step{Do: Admitted}
	case sum <= limit.N: // everybody ahead is admitted, or will be by itself
		return Step{Do: Room}
	case last.again() || last.Create < limit.Since:
		// It was admitted, or may have been, under a larger limit, and will not
		// write its key again to say so.
		return Step{Do: Room}
	}
	return Step{Do: Await, Behind: last}
}
