package waitqueue

import (
	"cmp"
	"slices"
)

// A Key is a member of the queue as read from etcd.
type Key struct {
	Name   string
	Create int64 // its create revision, which is its identity
}

// A View is what a read of the queue has shown.
type View struct {
	Revision int64 // of the store at the read
	Keys     []Key // in any order; what is behind the own key may be missing
	// Whole says that no key that is ahead of the own key is missing. If it is
	// not set, some of those nearest to the own key are there, unless Front is
	// set.
	Whole bool
	// Front says that the keys are the first ones by name, cut off at a limit:
	// if it is not Whole, it says nothing about who is ahead.
	Front bool
}

// A Step is what has to be done next.
type Step struct {
	Do Action
	// Await: wait until Behind.Name has no key with create revision
	// Behind.Create. It was there at revision At.
	Behind Key
	// Look: read who is ahead, at revision At or later.
	At int64
}

// An Action is a kind of Step.
type Action int

// What a place can be told to do.
const (
	Look    Action = iota // read the own key and those right ahead of it
	Await                 // wait for the predecessor's end
	Granted               // nobody is ahead
	Evicted               // the own key is gone
)

// A Place is a position in the queue and decides when it is its turn. It has
// no goroutine, no clock and no I/O.
//
// What it rests on: etcd gives create revisions in increasing order, so nobody
// enters ahead of a key that exists. Whoever was ahead in any view taken at or
// after the own key's creation, and is gone, is gone for good.
type Place struct {
	own Key
	// movable: the own key may be removed in one revision with the one right
	// ahead of it, by whoever owns. So the end of that one is no grant yet.
	movable bool
	// alone: the awaited predecessor was the only key ahead of the own one, so
	// nobody is ahead once it is gone.
	alone bool
}

// Enter takes the view in that the creation of the own key returned.
func (p *Place) Enter(own Key, view View) Step {
	p.own = own
	if view.Front && !view.Whole {
		return Step{Do: Look, At: view.Revision}
	}
	return p.decide(view)
}

// Looked takes the answer to Look in.
func (p *Place) Looked(view View) Step {
	if !slices.Contains(view.Keys, p.own) {
		return Step{Do: Evicted, At: view.Revision}
	}
	return p.decide(view)
}

// Ended takes in that the awaited key was found gone at revision rev.
func (p *Place) Ended(rev int64) Step {
	if p.alone && !p.movable {
		return Step{Do: Granted, At: rev}
	}
	return Step{Do: Look, At: rev}
}

func (p *Place) decide(view View) Step {
	ahead := slices.DeleteFunc(slices.Clone(view.Keys), func(k Key) bool { return k.Create >= p.own.Create })
	if len(ahead) == 0 {
		return Step{Do: Granted, At: view.Revision}
	}
	p.alone = view.Whole && len(ahead) == 1
	last := slices.MaxFunc(ahead, func(a, b Key) int { return cmp.Compare(a.Create, b.Create) })
	return Step{Do: Await, Behind: last, At: view.Revision}
}
