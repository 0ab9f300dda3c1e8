package cron

import (
	"slices"
	"time"
)

// A decision is what is to be done about one job at an instant. It is a
// function of the job, the state, the claims that exist and the time: whoever
// decides, decides the same. It takes effect if it is written to etcd while the
// state is still the one it was made from.
type decision struct {
	job  *Job
	now  time.Time
	next state

	changed bool     // next differs from what there is
	start   *active  // the run to claim
	records []Record // to be written
	trim    []string // ids of records to be deleted
	wake    time.Time
}

// decide looks at the first of these that there is: a run whose process has
// gone, a run that waits and may begin, ticks that are due. wake is when to
// decide again if nothing changes before; zero means never.
func (j *Job) decide(now time.Time, s state, live func(id string) bool) decision {
	d := decision{job: j, now: now, next: s.clone()}
	if d.takeOver(live) || d.startWaiting() {
		return d
	}
	if d.next.Paused == nil {
		d.ticks()
	}
	return d
}

// takeOver claims a run whose claim has gone without an outcome, or gives it up
// if too many have died with it.
func (d *decision) takeOver(live func(id string) bool) bool {
	for i := range d.next.Active {
		a := &d.next.Active[i]
		if live(a.ID) {
			continue
		}
		d.changed = true
		a.From = append(slices.Clone(a.From), a.Session)
		if !a.Returned {
			a.Deaths++
		}
		if len(a.From) > MaxAttempts {
			a.From = a.From[len(a.From)-MaxAttempts:]
		}
		if a.Deaths >= d.job.Attempts {
			d.records = append(d.records, a.record(Lost))
			d.next.Active = slices.Delete(d.next.Active, i, i+1)
			return true
		}
		a.Returned = false
		a.Attempt++
		d.start = a
		return true
	}
	return false
}

// free tells whether one more run may begin beside those that go on.
func (d *decision) free() bool {
	if d.job.Overlap == Allow {
		return len(d.next.Active) < MaxActive
	}
	return len(d.next.Active) == 0
}

func (d *decision) startWaiting() bool {
	if len(d.next.Waiting) == 0 || !d.free() {
		return false
	}
	w := d.next.Waiting[0]
	d.next.Waiting = slices.Delete(d.next.Waiting, 0, 1)
	d.claim(w.ID, w.Tick, w.Manual)
	return true
}

// claim begins the first attempt of a run.
func (d *decision) claim(id string, tick time.Time, manual bool) {
	d.changed = true
	d.next.Dropped = nil
	d.next.Active = append(d.next.Active, active{ID: id, Tick: tick, Manual: manual, Attempt: 1})
	d.start = &d.next.Active[len(d.next.Active)-1]
	d.keep(id)
}

// keep makes room for a record. Those of runs that go on stay, and so do those
// that this decision writes.
func (d *decision) keep(id string) {
	needed := func(id string) bool {
		return slices.ContainsFunc(d.next.Active, func(a active) bool { return a.ID == id }) ||
			slices.ContainsFunc(d.records, func(r Record) bool { return r.ID == id })
	}
	d.next.Records = append(d.next.Records, id)
	for i := 0; i < len(d.next.Records)-1 && len(d.next.Records) > d.job.History; {
		oldest := d.next.Records[i]
		if needed(oldest) {
			i++
			continue
		}
		d.next.Records = slices.Delete(d.next.Records, i, i+1)
		d.trim = append(d.trim, oldest)
	}
}

// ticks decides on the ticks that are due, in their order, up to the first that
// is to be run now.
func (d *decision) ticks() {
	for d.start == nil {
		tick := d.job.Schedule.Next(d.next.Cursor)
		if tick.IsZero() {
			return
		}
		due := d.job.due(tick)
		if due.After(d.now) {
			d.wake = due
			return
		}
		if d.now.Sub(due) > d.job.Grace {
			if !d.missed(tick) {
				return
			}
			continue
		}
		if !d.run(tick) {
			d.drop(DropBusy, tick, tick, 1)
		}
	}
}

// run has a tick run, now or when it is its turn, and tells whether it can be.
func (d *decision) run(tick time.Time) bool {
	switch {
	case d.free() && len(d.next.Waiting) == 0:
		d.claim(tickID(tick), tick, false)
	case d.job.Overlap == Queue && len(d.next.Waiting) < MaxWaiting:
		d.next.Waiting = append(d.next.Waiting, waiting{ID: tickID(tick), Tick: tick})
	default:
		return false
	}
	d.changed, d.next.Cursor = true, tick
	return true
}

// missed decides on ticks that are late, of which the given one is the first.
// It returns false if they have to wait.
func (d *decision) missed(tick time.Time) bool {
	before := d.job.lastDue(d.next.Cursor, d.now.Add(-d.job.Grace-1)) // the last one that is late
	tooOld := d.job.lastDue(d.next.Cursor, d.now.Add(-d.job.Window-1))
	switch d.job.Missed {
	case Skip:
		d.dropThrough(tick, before)
		return true
	case Last:
		if next := d.job.Schedule.Next(before); tooOld.Equal(before) || !next.IsZero() && !d.job.due(next).After(d.now) {
			d.dropThrough(tick, before)
			return true
		}
		if tick.Before(before) {
			d.dropThrough(tick, lastTick(d.job.Schedule, d.next.Cursor, before.Add(-1)))
			return true
		}
	case All:
		if !tooOld.IsZero() {
			d.dropThrough(tick, tooOld)
			return true
		}
	}
	if d.run(tick) {
		return true
	}
	// It is to be run and cannot be yet: the end of the run before comes by
	// itself. Look again when it is too old, or when a later tick is in time.
	d.wake = d.job.due(tick).Add(d.job.Window + 1)
	if next := d.job.Schedule.Next(before); d.job.Missed == Last && !next.IsZero() {
		d.wake = earliest(d.wake, d.job.due(next))
	}
	return false
}

func (d *decision) dropThrough(from, through time.Time) {
	d.drop(DropLate, from, through, countTicks(d.job.Schedule, d.next.Cursor, through))
}

// drop records that ticks are not run.
func (d *decision) drop(why Outcome, from, through time.Time, count int) {
	d.changed, d.next.Cursor = true, through
	if r := d.next.Dropped; r != nil && r.Outcome == why {
		r.Through, r.Count = through, r.Count+count
	} else {
		d.next.Dropped = &Record{ID: tickID(from), Tick: from, Outcome: why, Through: through, Count: count}
		d.keep(d.next.Dropped.ID)
	}
	d.records = slices.DeleteFunc(d.records, func(r Record) bool { return r.ID == d.next.Dropped.ID })
	d.records = append(d.records, *d.next.Dropped)
}

// record describes a run.
func (a active) record(o Outcome) Record {
	return Record{
		ID: a.ID, Tick: a.Tick, Manual: a.Manual, Outcome: o,
		Session: a.Session, Attempt: a.Attempt, From: a.From, Started: a.Since,
	}
}

// A finish is the end of a run.
type finish struct {
	outcome  Outcome // Done or Failed; "" gives the run back, to be taken over
	duration time.Duration
	result   string
	err      string
}

// finish removes a run from those that go on. It returns false if the claim is
// not, or no longer, the one that the state knows.
func (j *Job) finish(s state, id, claim string, f finish) (decision, bool) {
	d := decision{job: j, next: s.clone()}
	i := slices.IndexFunc(d.next.Active, func(a active) bool { return a.ID == id && a.Claim == claim })
	if i < 0 {
		return d, false
	}
	d.changed = true
	if f.outcome == "" {
		d.next.Active[i].Returned = true
		return d, true
	}
	r := d.next.Active[i].record(f.outcome)
	r.Duration, r.Result, r.Error = f.duration, f.result, f.err
	d.records = append(d.records, r)
	d.next.Active = slices.Delete(d.next.Active, i, i+1)
	return d, true
}
