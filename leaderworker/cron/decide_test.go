package cron

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A play is one job under a script: a time of day is a look at that time, "end
// 12:00" the end of that run, "die" and "return" that of its process, "pause" and
// "resume", and "trigger".
type play struct {
	t    *testing.T
	job  *Job
	s    state
	live map[string]bool
	now  time.Time
	out  []string
	seen func(decision)
}

func newPlay(t *testing.T, job Job, cursor time.Time) *play {
	job.Run = func(context.Context, *Run) error { return nil }
	job.Name = "job"
	require.NoError(t, job.check())
	return &play{t: t, job: &job, s: state{Cursor: cursor}, live: map[string]bool{}}
}

func clockTime(t *testing.T, text string) time.Time {
	at, err := time.Parse("15:04:05", text)
	if err != nil {
		at, err = time.Parse("15:04", text)
	}
	require.NoError(t, err, text)
	return noon.Truncate(24 * time.Hour).Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second)
}

func short(t time.Time) string {
	return strings.TrimSuffix(t.UTC().Format("15:04:05"), ":00")
}

func (p *play) run(script string) string {
	for line := range strings.SplitSeq(script, ",") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "end", "return":
			id := tickID(clockTime(p.t, rest))
			f := finish{outcome: Done}
			if word == "return" {
				f = finish{}
			}
			d, ok := p.job.finish(p.s, id, p.claimOf(id), f)
			require.True(p.t, ok)
			p.s = d.next
			delete(p.live, id)
		case "die":
			delete(p.live, tickID(clockTime(p.t, rest)))
		case "pause":
			p.s.Paused = &Pause{}
		case "resume":
			p.s.Paused, p.s.Cursor = nil, p.now
		case "trigger":
			p.s.Waiting = append(p.s.Waiting, waiting{ID: tickID(p.now), Tick: p.now, Manual: true})
		default:
			p.now = clockTime(p.t, word)
		}
		p.look()
	}
	return strings.Join(p.out, "; ")
}

func (p *play) claimOf(id string) string {
	for _, a := range p.s.Active {
		if a.ID == id {
			return a.Claim
		}
	}
	return ""
}

// look decides until there is nothing more to do.
func (p *play) look() {
	for n := 0; ; n++ {
		require.Less(p.t, n, 1000, "it never comes to rest")
		d := p.job.decide(p.now, p.s, func(id string) bool { return p.live[id] })
		if !d.changed {
			require.True(p.t, d.wake.IsZero() || d.wake.After(p.now), "it would spin")
			return
		}
		if p.seen != nil {
			p.seen(d)
		}
		written := map[string]bool{}
		for _, r := range d.records {
			require.False(p.t, written[r.ID], "a record is written twice")
			written[r.ID] = true
			line := fmt.Sprintf("%s %s %s", short(p.now), r.Outcome, short(r.Tick))
			if r.Count > 1 {
				line += fmt.Sprintf("-%s x%d", short(r.Through), r.Count)
			}
			p.out = append(p.out, line)
		}
		for _, id := range d.trim {
			require.False(p.t, written[id], "a record is written and trimmed")
		}
		require.LessOrEqual(p.t, len(d.next.Records), p.job.History+MaxActive+3)
		if d.start != nil {
			d.start.Claim = fmt.Sprint(p.now, d.start.Attempt)
			d.start.Session = "s"
			p.live[d.start.ID] = true
			p.out = append(p.out, fmt.Sprintf("%s run %s #%d", short(p.now), short(d.start.Tick), d.start.Attempt))
		}
		require.False(p.t, d.next.Cursor.Before(p.s.Cursor), "the cursor goes backwards")
		p.s = d.next
	}
}

func TestWhatBecomesOfATick(t *testing.T) {
	hourly := MustParse("@hourly", time.UTC)
	minutely := MustParse("* * * * *", time.UTC)
	for _, c := range []struct {
		name   string
		job    Job
		script string
		want   string
	}{
		{"in time", Job{Schedule: hourly}, "12:59, 13:00, end 13:00, 13:30, 14:00:10",
			"13:00 run 13:00 #1; 14:00:10 run 14:00 #1"},
		{"a little late", Job{Schedule: hourly}, "13:01", "13:01 run 13:00 #1"},
		{"too late", Job{Schedule: hourly}, "13:01:01, 13:30, 14:00", "13:01:01 missed 13:00; 14:00 run 14:00 #1"},
		{"looked at twice", Job{Schedule: hourly}, "13:00, 13:00, end 13:00, 13:00, 13:00", "13:00 run 13:00 #1"},

		{"looked at by a clock that is behind", Job{Schedule: hourly}, "13:00, end 13:00, 12:59:58, 13:00:01", "13:00 run 13:00 #1"},

		{"skip: after a long time", Job{Schedule: hourly}, "23:30", "23:30 missed 13:00-23:00 x11"},
		{"skip: and one is in time", Job{Schedule: hourly}, "23:00:30", "23:00:30 missed 13:00-22:00 x10; 23:00:30 run 23:00 #1"},
		{"last: after a long time", Job{Schedule: hourly, Missed: Last}, "23:30", "23:30 missed 13:00-22:00 x10; 23:30 run 23:00 #1"},
		{"last: only one was missed", Job{Schedule: hourly, Missed: Last}, "13:30", "13:30 run 13:00 #1"},
		{"last: and one is in time", Job{Schedule: hourly, Missed: Last}, "23:00:30", "23:00:30 missed 13:00-22:00 x10; 23:00:30 run 23:00 #1"},
		{"last: too old", Job{Schedule: At(noon.Add(time.Hour)), Missed: Last, Window: 2 * time.Hour}, "15:01", "15:01 missed 13:00"},
		{"last: waits for the run before", Job{Schedule: hourly, Missed: Last}, "13:00, 14:30, 14:45, end 13:00",
			"13:00 run 13:00 #1; 14:45 run 14:00 #1"},
		{"last: overtaken while it waits", Job{Schedule: hourly, Missed: Last}, "13:00, 14:30, 15:00, 15:00:30, end 13:00",
			"13:00 run 13:00 #1; 15:00 missed 14:00; 15:00 overlapped 15:00"},
		{"all: after some time", Job{Schedule: hourly, Missed: All}, "15:30, end 13:00, end 14:00",
			"15:30 run 13:00 #1; 15:30 run 14:00 #1; 15:30 run 15:00 #1"},
		{"all: beside each other", Job{Schedule: hourly, Missed: All, Overlap: Allow}, "15:30",
			"15:30 run 13:00 #1; 15:30 run 14:00 #1; 15:30 run 15:00 #1"},
		{"all: within the window", Job{Schedule: hourly, Missed: All, Window: 2 * time.Hour}, "23:30, end 22:00",
			"23:30 missed 13:00-21:00 x9; 23:30 run 22:00 #1; 23:30 run 23:00 #1"},

		{"all: waits for the run before, and one is in time", Job{Schedule: minutely, Missed: All}, "12:01, 12:03:10, 12:03:30, end 12:01, end 12:02",
			"12:01 run 12:01 #1; 12:03:30 run 12:02 #1; 12:03:30 overlapped 12:03"},

		{"forbid", Job{Schedule: minutely}, "12:01, 12:02, 12:03, end 12:01, 12:04",
			"12:01 run 12:01 #1; 12:02 overlapped 12:02; 12:03 overlapped 12:02-12:03 x2; 12:04 run 12:04 #1"},
		{"queue", Job{Schedule: minutely, Overlap: Queue}, "12:01, 12:02, 12:03, end 12:01, end 12:02, end 12:03",
			"12:01 run 12:01 #1; 12:03 run 12:02 #1; 12:03 run 12:03 #1"},
		{"allow", Job{Schedule: minutely, Overlap: Allow}, "12:01, 12:02, 12:03",
			"12:01 run 12:01 #1; 12:02 run 12:02 #1; 12:03 run 12:03 #1"},

		{"its process dies", Job{Schedule: hourly}, "13:00, 13:00:05, die 13:00, end 13:00, 14:00",
			"13:00 run 13:00 #1; 13:00:05 run 13:00 #2; 14:00 run 14:00 #1"},
		{"every process dies with it", Job{Schedule: hourly}, "13:00, die 13:00, die 13:00, die 13:00, 14:00",
			"13:00 run 13:00 #1; 13:00 run 13:00 #2; 13:00 run 13:00 #3; 13:00 lost 13:00; 14:00 run 14:00 #1"},
		{"processes that stop give it back and are not counted", Job{Schedule: hourly, Attempts: 1}, "13:00, return 13:00, return 13:00, end 13:00",
			"13:00 run 13:00 #1; 13:00 run 13:00 #2; 13:00 run 13:00 #3"},
		{"it dies while others are dropped", Job{Schedule: minutely}, "12:01, 12:02, die 12:01, 12:03, end 12:01, 12:04",
			"12:01 run 12:01 #1; 12:02 overlapped 12:02; 12:02 run 12:01 #2; 12:03 overlapped 12:02-12:03 x2; 12:04 run 12:04 #1"},

		{"paused", Job{Schedule: hourly, Missed: All}, "12:30, pause, 13:00, 14:00, 14:30, resume, 15:00", "15:00 run 15:00 #1"},
		{"triggered while paused", Job{Schedule: hourly}, "12:30, pause, trigger, 13:00", "12:30 run 12:30 #1"},
		{"triggered while it runs", Job{Schedule: hourly}, "13:00, 13:10, trigger, 13:20, end 13:00", "13:00 run 13:00 #1; 13:20 run 13:10 #1"},

		{"once", Job{Schedule: At(noon.Add(time.Hour))}, "12:59, 13:00, end 13:00, 15:00", "13:00 run 13:00 #1"},
		{"once, and its time has passed", Job{Schedule: At(noon.Add(-time.Hour)), Missed: Last}, "12:00", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, newPlay(t, c.job, noon).run(c.script))
		})
	}
}

func TestWaitingTicksAndRunsAreBounded(t *testing.T) {
	secondly := MustParse("* * * * * *", time.UTC)
	p := newPlay(t, Job{Schedule: secondly, Overlap: Queue}, noon)
	for i := range 100 {
		p.now = noon.Add(time.Duration(i+1) * time.Second)
		p.look()
	}
	require.Len(t, p.s.Waiting, MaxWaiting)
	require.Len(t, p.s.Active, 1)
	p = newPlay(t, Job{Schedule: secondly, Overlap: Allow}, noon)
	for i := range 100 {
		p.now = noon.Add(time.Duration(i+1) * time.Second)
		p.look()
	}
	require.Len(t, p.s.Active, MaxActive)
	require.Equal(t, 100-MaxActive, p.s.Dropped.Count)
}

func TestAfterYearsOfDowntimeADecisionIsQuick(t *testing.T) {
	for _, missed := range []Missed{Skip, Last, All} {
		p := newPlay(t, Job{Schedule: MustParse("* * * * * *", time.UTC), Missed: missed}, noon.AddDate(-20, 0, 0))
		d := p.job.decide(noon, p.s, func(string) bool { return true })
		require.NotNil(t, d.start)
		require.NotEmpty(t, d.records)
		require.GreaterOrEqual(t, d.records[0].Count, maxCount)
	}
}

func TestTheHistoryIsBoundedAndKeepsWhatRuns(t *testing.T) {
	p := newPlay(t, Job{Schedule: MustParse("* * * * *", time.UTC), Overlap: Allow, History: 3}, noon)
	p.run("12:01, 12:02, 12:03, 12:04, end 12:02, 12:05, end 12:03, end 12:04, end 12:05, 12:06")
	require.Equal(t, []string{"20260501T120100.000Z", "20260501T120500.000Z", "20260501T120600.000Z"}, p.s.Records,
		"the oldest goes on, so its record stays")
}

func TestJitterPutsATickOffByTheSameTimeEverywhere(t *testing.T) {
	job := Job{Name: "job", Schedule: MustParse("@hourly", time.UTC), Jitter: 10 * time.Minute}
	other := job
	seen := map[time.Duration]bool{}
	for tick := noon; tick.Before(noon.Add(24 * time.Hour)); tick = job.Schedule.Next(tick) {
		off := job.due(tick).Sub(tick)
		require.Equal(t, off, other.due(tick).Sub(tick))
		require.True(t, off >= 0 && off < 10*time.Minute)
		seen[off] = true
	}
	require.Greater(t, len(seen), 20)
}

func TestJobsThatCannotWorkAreRefused(t *testing.T) {
	good := func() Job {
		return Job{Name: "job", Schedule: At(noon), Run: func(context.Context, *Run) error { return nil }}
	}
	job := good()
	require.NoError(t, job.check())
	for name, spoil := range map[string]func(*Job){
		"no name":             func(j *Job) { j.Name = "" },
		"a long name":         func(j *Job) { j.Name = strings.Repeat("x", maxJobName+1) },
		"no schedule":         func(j *Job) { j.Schedule = nil },
		"nothing to run":      func(j *Job) { j.Run = nil },
		"unknown missed":      func(j *Job) { j.Missed = 7 },
		"unknown overlap":     func(j *Job) { j.Overlap = -1 },
		"negative grace":      func(j *Job) { j.Grace = -1 },
		"window and skip":     func(j *Job) { j.Window = time.Hour },
		"window below grace":  func(j *Job) { j.Missed, j.Grace, j.Window = Last, time.Hour, time.Minute },
		"negative jitter":     func(j *Job) { j.Jitter = -1 },
		"too much jitter":     func(j *Job) { j.Jitter = MaxJitter + 1 },
		"negative attempts":   func(j *Job) { j.Attempts = -1 },
		"too many attempts":   func(j *Job) { j.Attempts = MaxAttempts + 1 },
		"too large a history": func(j *Job) { j.History = MaxHistory + 1 },
	} {
		job := good()
		spoil(&job)
		require.ErrorIs(t, job.check(), ErrConfig, name)
	}
}

// Whatever happens: every tick is run or has a record, none is run twice, and a
// decision that changes nothing waits for a later time.
func TestNoTickIsLostOrRunTwiceWhateverHappens(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		schedule, err := Every(time.Duration(1+rnd.IntN(20)) * time.Second)
		require.NoError(t, err)
		job := Job{
			Schedule: schedule, Missed: Missed(rnd.IntN(3)), Overlap: Overlap(rnd.IntN(3)),
			Grace: time.Duration(rnd.IntN(30)) * time.Second, Jitter: time.Duration(rnd.IntN(2)*rnd.IntN(15)) * time.Second,
			Attempts: 1 + rnd.IntN(3), History: 1 + rnd.IntN(10),
		}
		if job.Missed != Skip {
			job.Window = max(job.Grace, DefaultGrace) + time.Duration(rnd.IntN(100))*time.Second
		}
		p := newPlay(t, job, noon)
		p.now = noon
		ran, decided := map[time.Time]int{}, map[time.Time]bool{}
		p.seen = func(d decision) {
			if d.start != nil && d.start.Attempt == 1 {
				ran[d.start.Tick]++
				decided[d.start.Tick] = true
			}
			for _, r := range d.records {
				if r.Count > 0 {
					for tick := r.Tick; !tick.After(r.Through); tick = schedule.Next(tick) {
						decided[tick] = true
					}
				}
			}
			for _, w := range d.next.Waiting {
				decided[w.Tick] = true
			}
		}
		for range 200 {
			step := time.Duration(rnd.IntN(10_000)) * time.Millisecond
			if rnd.IntN(20) == 0 {
				step *= 30
			}
			p.now = p.now.Add(step)
			for _, a := range p.s.Active {
				switch rnd.IntN(12) {
				case 0, 1, 2, 3:
					d, ok := p.job.finish(p.s, a.ID, a.Claim, finish{outcome: Done})
					require.True(t, ok)
					p.s = d.next
					delete(p.live, a.ID)
				case 4:
					delete(p.live, a.ID)
				}
			}
			p.look()
		}
		for tick := schedule.Next(noon); !tick.After(p.s.Cursor); tick = schedule.Next(tick) {
			require.True(t, decided[tick], "seed %d: %v", seed, tick)
			require.LessOrEqual(t, ran[tick], 1, "seed %d: %v", seed, tick)
		}
		require.NotEmpty(t, ran)
	}
}
