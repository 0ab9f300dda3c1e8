package history

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Recorder collects a history. It is safe for concurrent use, and so are the
// attempts, beliefs and writes that come from it. The order in which its
// methods are called is the order of the history, so call them on the right
// side of the moment: see each.
type Recorder struct {
	now func() time.Duration

	mu       sync.Mutex
	seq      int
	attempts int
	marks    int
	h        History
}

// NewRecorder makes a recorder whose events are dated by now, the time since
// some beginning.
func NewRecorder(now func() time.Duration) *Recorder { return &Recorder{now: now} }

// History returns what was recorded until now.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return History{
		Events:  slices.Clone(r.h.Events),
		Changes: slices.Clone(r.h.Changes),
		Gaps:    slices.Clone(r.h.Gaps),
		End:     r.now(),
	}
}

func (r *Recorder) record(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.append(e)
}

func (r *Recorder) append(e Event) {
	r.seq++
	e.Seq, e.At = r.seq, r.now()
	r.h.Events = append(r.h.Events, e)
}

func (r *Recorder) change(c Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	c.Seq, c.At = r.seq, r.now()
	r.h.Changes = append(r.h.Changes, c)
}

func (r *Recorder) gap(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Gaps = append(r.h.Gaps, fmt.Sprintf(format, args...))
}

// Session says that the client puts keys on this lease from now on. Without it
// a waiting key cannot be told to be the client's.
func (r *Recorder) Session(client string, lease int64) {
	r.record(Event{Kind: Session, Client: client, Lease: lease})
}

// Link says that the client is connected or cut off from now on. The client
// "" stands for everybody: the server went down or came up. A client that
// nothing was said of is connected.
func (r *Recorder) Link(client string, up bool) {
	k := Down
	if up {
		k = Up
	}
	r.record(Event{Kind: k, Client: client})
}

// Ask says that the client is about to call Lock.
func (r *Recorder) Ask(client, name string) *Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts++
	a := &Attempt{r: r, is: Event{Client: client, Name: name, Attempt: r.attempts}}
	e := a.is
	e.Kind = Asked
	r.append(e)
	return a
}

// An Attempt is one call of Lock.
type Attempt struct {
	r  *Recorder
	is Event // what all events of the attempt have in common
}

// Weigh says how much of a shared lock is asked for, see Sharing.
func (a *Attempt) Weigh(n int64) *Attempt {
	a.is.Weight = n
	return a
}

// Failed says that Lock has returned an error.
func (a *Attempt) Failed(err error) {
	e := a.is
	e.Kind, e.Text = Failed, text(err)
	a.r.record(e)
}

// Acquired says that Lock has returned ownership. The client believes from now
// on. Created is the create revision of the key behind the token.
func (a *Attempt) Acquired(token, created int64) *Belief {
	b := &Belief{r: a.r, is: a.is}
	b.is.Token, b.is.Created = token, created
	e := b.is
	e.Kind = Acquired
	a.r.record(e)
	return b
}

// A Belief is the time in which a client took itself for the owner.
type Belief struct {
	r  *Recorder
	is Event
	// Guarded by r.mu.
	lost, releasing bool
}

// Lost says that the client was told that ownership is gone. It changes nothing
// after Releasing, so it can hang on a context that Unlock cancels too.
func (b *Belief) Lost(cause error) {
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	if b.lost || b.releasing {
		return
	}
	b.lost = true
	e := b.is
	e.Kind, e.Text = Lost, text(cause)
	b.r.append(e)
}

// Releasing says that the client is about to call Unlock: belief ends before
// the call, because the next owner may believe before it returns.
func (b *Belief) Releasing() {
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	b.releasing = true
	e := b.is
	e.Kind = Releasing
	b.r.append(e)
}

// Released says that Unlock has returned.
func (b *Belief) Released(err error) {
	e := b.is
	e.Kind, e.Text = Released, text(err)
	b.r.record(e)
}

// Write says that the client is about to send a guarded write. It has to write
// the value Mark, so that the observer of the store recognises it.
func (b *Belief) Write() *Write {
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	b.r.marks++
	w := &Write{r: b.r, is: b.is}
	w.is.Mark = fmt.Sprintf("%s/%d/%d", b.is.Client, b.is.Token, b.r.marks)
	e := w.is
	e.Kind = Writing
	b.r.append(e)
	return w
}

// A Write is one guarded write. Exactly one of its outcomes is to be recorded.
type Write struct {
	r  *Recorder
	is Event
}

// Mark is the value to write.
func (w *Write) Mark() string { return w.is.Mark }

// Committed says that the write was answered, and done at revision.
func (w *Write) Committed(revision int64) {
	e := w.is
	e.Kind, e.Revision = Committed, revision
	w.r.record(e)
}

// Refused says that the write was answered, and not done because of its guard.
func (w *Write) Refused() {
	e := w.is
	e.Kind = Refused
	w.r.record(e)
}

// Unknown says that nobody knows whether the write was or will be done.
func (w *Write) Unknown(err error) {
	e := w.is
	e.Kind, e.Text = Unknown, text(err)
	w.r.record(e)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
