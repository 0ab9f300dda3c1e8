package cron

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

// ticks lists the ticks of a span as a clock of the zone shows them, with the
// offset, which tells the two hours of one name apart.
func ticks(s Schedule, zone *time.Location, from, to time.Time) string {
	var out []string
	for t := s.Next(from); !t.IsZero() && t.Before(to); t = s.Next(t) {
		out = append(out, t.In(zone).Format("02T15:04-07"))
	}
	return strings.Join(out, " ")
}

// In New York the clock goes from 2:00 to 3:00 on 8 March 2026, and from 2:00
// back to 1:00 on 1 November.
func TestJobsRunAsTheRulesForTheChangesOfTheClocksSay(t *testing.T) {
	for _, c := range []struct {
		name, zone, expr string
		day              string // of the change
		want             string // from its midnight to 6:00
	}{
		{"a time that does not exist is due behind the gap", "America/New_York", "30 2 * * *", "2026-03-08", "08T03:00-04"},
		{"times of one gap are one tick", "America/New_York", "*/20 2 * * *", "2026-03-08", "08T03:00-04"},
		{"a gap and the hour behind it", "America/New_York", "0,30 2,3 * * *", "2026-03-08", "08T03:00-04 08T03:30-04"},
		{"a time before the gap", "America/New_York", "59 1 * * *", "2026-03-08", "08T01:59-05"},
		{"a time that exists twice is due at the first", "America/New_York", "30 1 * * *", "2026-11-01", "01T01:30-04"},
		{"times of a repeated hour are due once", "America/New_York", "*/20 1 * * *", "2026-11-01", "01T01:00-04 01T01:20-04 01T01:40-04"},
		{"the time after the repeated hour", "America/New_York", "0 2 * * *", "2026-11-01", "01T02:00-05"},
		{"an hourly job does not miss an hour that does not exist", "America/New_York", "15 * * * *", "2026-03-08",
			"08T00:15-05 08T01:15-05 08T03:15-04 08T04:15-04 08T05:15-04"},
		{"an hourly job is due in both hours of one name", "America/New_York", "15 * * * *", "2026-11-01",
			"01T00:15-04 01T01:15-04 01T01:15-05 01T02:15-05 01T03:15-05 01T04:15-05 01T05:15-05"},
		{"a job on the hour is due at the change itself", "America/New_York", "0 * * * *", "2026-03-08",
			"08T00:00-05 08T01:00-05 08T03:00-04 08T04:00-04 08T05:00-04"},
		{"every second hour loses none", "America/New_York", "0 */2 * * *", "2026-03-08", "08T00:00-05 08T03:00-04 08T04:00-04"},
		{"an interval loses nothing", "America/New_York", "@every 90m", "2026-03-08", "08T01:00-05 08T03:30-04 08T05:00-04"},
		{"an interval gains nothing", "America/New_York", "@every 90m", "2026-11-01",
			"01T00:30-04 01T01:00-05 01T02:30-05 01T04:00-05 01T05:30-05"},
		{"the other hemisphere, half an hour forward", "Australia/Lord_Howe", "15 2 * * *", "2026-10-04", "04T02:30+11"},
		{"the other hemisphere, half an hour back", "Australia/Lord_Howe", "45 1 * * *", "2026-04-05", "05T01:45+11"},
		{"a gap at midnight", "Africa/Cairo", "0 0 * * *", "2026-04-24", "24T01:00+03"},
		{"a zone without changes", "Asia/Tokyo", "30 2 * * *", "2026-03-08", "08T02:30+09"},
	} {
		t.Run(c.name, func(t *testing.T) {
			loc := zone(t, c.zone)
			s, err := Parse(c.expr, loc)
			require.NoError(t, err)
			day, err := time.ParseInLocation(time.DateOnly, c.day, time.UTC)
			require.NoError(t, err)
			from := instant(day, loc).Add(-time.Millisecond)
			got := ticks(s, loc, from, time.Date(day.Year(), day.Month(), day.Day(), 6, 0, 0, 0, loc))
			require.Equal(t, c.want, got)
		})
	}
}

// A whole year in zones with all kinds of changes: one tick on each day for what
// follows the calendar, one in each hour for what follows the time that passes.
func TestInAWholeYearNothingIsLostAndNothingRunsTwice(t *testing.T) {
	for _, name := range []string{"America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "America/St_Johns", "UTC"} {
		loc := zone(t, name)
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, loc)
		to := time.Date(2027, 1, 1, 0, 0, 0, 0, loc)
		count := func(expr string) (n int) {
			for t := MustParse(expr, loc).Next(from.Add(-1)); t.Before(to); t = MustParse(expr, loc).Next(t) {
				n++
			}
			return n
		}
		for _, expr := range []string{"30 2 * * *", "30 1 * * *", "0 0 * * *", "15 2 * * *", "59 1 * * *"} {
			require.Equal(t, 365, count(expr), "%s in %s", expr, name)
		}
		if name != "Australia/Lord_Howe" { // where a change is half an hour
			require.Equal(t, 365*24, count("30 * * * *"), "hourly in %s", name)
		}
		require.Equal(t, 365*24*12, count("@every 5m"), "an interval in %s", name)
	}
}

func TestExpressions(t *testing.T) {
	from := time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC) // a Friday
	for _, c := range []struct{ expr, want string }{
		{"* * * * *", "2026-02-27T12:01:00Z"},
		{"*/10 * * * * *", "2026-02-27T12:00:10Z"},
		{"0 12 * * *", "2026-02-28T12:00:00Z"},
		{"@hourly", "2026-02-27T13:00:00Z"},
		{"@daily", "2026-02-28T00:00:00Z"},
		{"@weekly", "2026-03-01T00:00:00Z"},
		{"@monthly", "2026-03-01T00:00:00Z"},
		{"@yearly", "2027-01-01T00:00:00Z"},
		{"0 0 31 * *", "2026-03-31T00:00:00Z"},
		{"0 0 29 2 *", "2028-02-29T00:00:00Z"},
		{"0 0 13 * FRI", "2026-03-06T00:00:00Z"}, // either day suffices
		{"0 0 * * MON-WED", "2026-03-02T00:00:00Z"},
		{"CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-02-28T00:00:00Z"},
		{"TZ=America/New_York 0 9 * * *", "2026-02-27T14:00:00Z"},
		{"  0   9 * * *  ", "2026-02-28T09:00:00Z"},
		{"@every 1h30m", "2026-02-27T13:30:00Z"},
	} {
		s, err := Parse(c.expr, time.UTC)
		require.NoError(t, err, c.expr)
		require.Equal(t, c.want, s.Next(from).UTC().Format(time.RFC3339), c.expr)
	}
}

func TestExpressionsThatCannotWorkAreRefusedAtOnce(t *testing.T) {
	for _, expr := range []string{
		"", " ", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8",
		"0 0 31 2 *", "0 0 30 2 *", "@never", "@every", "@every x", "@every 0s", "@every 1us", "@every -1h", "@reboot",
		"CRON_TZ=Nowhere/At_All 0 0 * * *", "CRON_TZ=UTC", "TZ=", "CRON_TZ=Local 0 0 * * *", "5-1 * * * *", "*/0 * * * *", ", * * * *",
		strings.Repeat("0,", 200) + "0 * * * *",
	} {
		_, err := Parse(expr, time.UTC)
		require.ErrorIs(t, err, ErrConfig, expr)
	}
	for _, zone := range []*time.Location{nil, time.Local} {
		_, err := Parse("0 0 * * *", zone)
		require.ErrorIs(t, err, ErrConfig, "every machine has another local zone")
	}
}

func TestIntervalsAndOnce(t *testing.T) {
	s, err := Every(1500 * time.Millisecond)
	require.NoError(t, err)
	at := time.UnixMilli(0)
	for want := int64(1500); want < 10_000; want += 1500 {
		at = s.Next(at)
		require.Equal(t, want, at.UnixMilli())
	}
	require.EqualValues(t, 1500, s.Next(time.UnixMilli(0).Add(time.Microsecond)).UnixMilli())
	require.EqualValues(t, 0, s.Next(time.UnixMilli(-1)).UnixMilli())
	require.EqualValues(t, -1500, s.Next(time.UnixMilli(-1501)).UnixMilli())
	for _, bad := range []time.Duration{0, -time.Hour, time.Microsecond, 99 * time.Millisecond, time.Second + 1} {
		_, err := Every(bad)
		require.ErrorIs(t, err, ErrConfig)
	}

	when := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, when, At(when).Next(time.Time{}))
	require.True(t, At(when).Next(when).IsZero())
}

func TestTheLastTickOfALongTimeIsFoundQuickly(t *testing.T) {
	from := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	to := time.Date(2026, 5, 1, 12, 34, 56, 0, time.UTC)
	for _, c := range []struct{ expr, want string }{
		{"* * * * * *", "2026-05-01T12:34:56Z"},
		{"@every 1s", "2026-05-01T12:34:56Z"},
		{"0 0 29 2 *", "2024-02-29T00:00:00Z"},
		{"* * * * * *", "2026-05-01T12:34:56Z"},
		{"@hourly", "2026-05-01T12:00:00Z"},
	} {
		s := MustParse(c.expr, time.UTC)
		require.Equal(t, c.want, lastTick(s, from, to).Format(time.RFC3339), c.expr)
		require.Equal(t, maxCount, countTicks(MustParse("@hourly", time.UTC), from, to))
	}
	yearly := MustParse("@yearly", time.UTC)
	require.True(t, lastTick(yearly, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), to).IsZero(), "from is not part of it")
	require.True(t, lastTick(At(to), time.Time{}, to.Add(-1)).IsZero())
	require.Equal(t, to, lastTick(At(to), time.Time{}, to))
}

func FuzzParse(f *testing.F) {
	for _, expr := range []string{"30 2 * * *", "*/15 * * * * *", "CRON_TZ=Europe/Berlin 0 0 29 2 *", "@every 1h", "0 0 13 * FRI", "TZ=x"} {
		f.Add(expr, int64(1_772_900_000))
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, expr string, at int64) {
		s, err := Parse(expr, berlin)
		if err != nil {
			return
		}
		from := time.Unix(at%(1<<33), 0)
		for range 5 {
			next := s.Next(from)
			if next.IsZero() {
				return
			}
			if !next.After(from) {
				t.Fatalf("%q: the tick after %v is %v", expr, from, next)
			}
			if half := from.Add(next.Sub(from) / 2); !s.Next(half).Equal(next) {
				t.Fatalf("%q: between %v and %v there is %v", expr, from, next, s.Next(half))
			}
			from = next
		}
	})
}
