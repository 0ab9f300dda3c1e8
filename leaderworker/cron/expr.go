package cron

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	robfig "github.com/robfig/cron/v3"
)

// maxExpr bounds the length of an expression.
const maxExpr = 256

var parser = robfig.NewParser(robfig.SecondOptional | robfig.Minute | robfig.Hour |
	robfig.Dom | robfig.Month | robfig.Dow | robfig.Descriptor)

// Parse reads a cron expression: minute, hour, day of the month, month, day of
// the week, optionally with the second in front of them; or @hourly, @daily,
// @weekly, @monthly, @yearly; or @every and an interval, see Every. The
// wall-clock times are those of zone, or of the zone named in front of the
// expression as in "CRON_TZ=Europe/Berlin 30 2 * * *". The local zone is no
// good: processes on several machines must agree on one.
//
// If both days are restricted, either of them suffices, as in every cron.
//
// # When the clocks change
//
// An expression whose hour field allows every hour follows the time that
// passes: it is due whenever the clock shows a matching time. An hour that does
// not exist is not missed, and of one that exists twice both are used, so an
// hourly job is due once in every hour that passes.
//
// Any other expression follows the calendar: each of its times is due once a
// day. One that does not exist, because the clock is set forward over it, is due
// at the first instant behind the gap, together with others of that gap as one
// tick. One that exists twice is due at the first.
func Parse(expr string, zone *time.Location) (Schedule, error) {
	s, err := parse(expr, zone)
	if err != nil {
		return nil, fmt.Errorf("%w: the expression %.*q: %w", ErrConfig, maxExpr, expr, err)
	}
	return s, nil
}

// MustParse is Parse for expressions that are part of the program: it panics
// on one that cannot be used.
func MustParse(expr string, zone *time.Location) Schedule {
	s, err := Parse(expr, zone)
	if err != nil {
		panic(err)
	}
	return s
}

func parse(expr string, zone *time.Location) (Schedule, error) {
	if len(expr) > maxExpr {
		return nil, fmt.Errorf("it is longer than %d bytes", maxExpr)
	}
	expr = strings.TrimSpace(expr)
	if name, rest, ok := cutZone(expr); ok {
		var err error
		if zone, err = time.LoadLocation(name); err != nil {
			return nil, fmt.Errorf("the zone %q: %w", name, err)
		}
		expr = rest
	}
	switch {
	case expr == "":
		return nil, fmt.Errorf("it is empty")
	case zone == nil || zone == time.Local:
		return nil, fmt.Errorf("it needs a zone that is the same on every machine, such as time.UTC")
	}
	if text, ok := strings.CutPrefix(expr, "@every "); ok {
		interval, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		return Every(interval)
	}
	parsed, err := parser.Parse(expr)
	if err != nil {
		return nil, err
	}
	spec, ok := parsed.(*robfig.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("it is of an unknown kind")
	}
	s := calendar{
		second: field(spec.Second), minute: field(spec.Minute), hour: field(spec.Hour),
		dom: field(spec.Dom), month: field(spec.Month), dow: field(spec.Dow),
		anyDom: spec.Dom&star != 0, anyDow: spec.Dow&star != 0,
		zone: zone,
	}
	if s.second == 0 || s.minute == 0 || s.hour == 0 || s.dom == 0 || s.month == 0 || s.dow == 0 {
		return nil, fmt.Errorf("one of its fields names nothing")
	}
	if s.nextWall(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("there is no such day")
	}
	return s, nil
}

func cutZone(expr string) (name, rest string, ok bool) {
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if after, found := strings.CutPrefix(expr, prefix); found {
			name, rest, _ := strings.Cut(after, " ")
			return name, strings.TrimSpace(rest), true
		}
	}
	return "", expr, false
}

const (
	star     = 1 << 63 // how the parser marks a field that was "*"
	allHours = 1<<24 - 1
)

// A field has a bit for each value that it allows.
type field uint64

func (f field) has(n int) bool { return f&(1<<n) != 0 }

// from returns the first allowed value from n on, or 64.
func (f field) from(n int) int { return bits.TrailingZeros64(uint64(f) &^ star >> n << n) }

// A calendar is the schedule of a cron expression.
type calendar struct {
	second, minute, hour, dom, month, dow field

	anyDom, anyDow bool
	zone           *time.Location
}

func (s calendar) Next(after time.Time) time.Time {
	if s.hour&allHours == allHours {
		return s.nextPassing(after)
	}
	for w := s.nextWall(wall(after, s.zone)); !w.IsZero(); w = s.nextWall(w) {
		if t := instant(w, s.zone); t.After(after) {
			return t
		}
	}
	return time.Time{}
}

// nextPassing is Next for expressions that follow the time that passes: from
// one change of the clocks to the next, wall times and instants run in step.
func (s calendar) nextPassing(after time.Time) time.Time {
	_, end := after.In(s.zone).ZoneBounds()
	offset := offsetAt(after, s.zone)
	for {
		w := s.nextWall(after.UTC().Add(offset))
		if w.IsZero() {
			return w
		}
		if t := w.Add(-offset); end.IsZero() || t.Before(end) {
			return t
		}
		// Go on behind the change, whose instant counts already.
		after, offset = end.Add(-time.Nanosecond), offsetAt(end, s.zone)
		_, end = end.ZoneBounds()
	}
}

// maxYears bounds the search for a day: the longest that a date can stay away
// is 29 February on a day of the week, across a century that is no leap year.
const maxYears = 40

// nextWall returns the first matching wall time after w, or the zero time.
func (s calendar) nextWall(w time.Time) time.Time {
	w = w.Truncate(time.Second).Add(time.Second)
	day := time.Date(w.Year(), w.Month(), w.Day(), 0, 0, 0, 0, time.UTC)
	for last := day.AddDate(maxYears, 0, 0); day.Before(last); {
		switch {
		case !s.month.has(int(day.Month())):
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		case s.matchesDay(day):
			if t := s.within(day, w); !t.IsZero() {
				return t
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// matchesDay knows cron's rule: if both days are restricted, either suffices.
func (s calendar) matchesDay(day time.Time) bool {
	dom, dow := s.dom.has(day.Day()), s.dow.has(int(day.Weekday()))
	if s.anyDom || s.anyDow {
		return dom && dow
	}
	return dom || dow
}

// within returns the first matching time of a day that is not before w.
func (s calendar) within(day, w time.Time) time.Time {
	hour, minute, second := 0, 0, 0
	if w.After(day) {
		hour, minute, second = w.Clock()
	}
	for h := s.hour.from(hour); h < 24; h = s.hour.from(h + 1) {
		if h > hour {
			minute, second = 0, 0
		}
		for m := s.minute.from(minute); m < 60; m = s.minute.from(m + 1) {
			if h > hour || m > minute {
				second = 0
			}
			if sec := s.second.from(second); sec < 60 {
				return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(sec)*time.Second)
			}
		}
	}
	return time.Time{}
}
