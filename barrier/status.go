package barrier

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Status is who waits at a Cyclic or a Double, and who is inside of the
// latter. It is a snapshot of one revision.
type Status struct {
	// Generation counts those that have passed or been let in.
	Generation int64
	// Parties is how many those expect that are there; the own number if nobody
	// is.
	Parties int
	// Present are those who wait for the others, in the order in which they
	// came: to go on, to enter, or, if somebody is inside, to leave.
	Present []Party
	// Inside are those inside of a Double who do not want to leave yet.
	Inside []Party
	// Missing is how many have to come until those present can go on: Parties
	// less those present. Those inside of a Double who have died are missing
	// until that is noticed.
	Missing int
}

func (g *gate) status(ctx context.Context) (Status, error) {
	if g.err != nil {
		return Status{}, g.err
	}
	resp, err := g.session.Client().Get(ctx, string(g.site), clientv3.WithPrefix())
	if err != nil {
		return Status{}, fmt.Errorf("barrier: %q: status: %w", g.name, err)
	}
	v, all := viewOf(g.site, resp.Kvs, resp.Header.Revision), members{}
	for _, kv := range resp.Kvs {
		if strings.HasPrefix(string(kv.Key), g.site.parties()) {
			all.add(kv)
		}
	}
	return statusOf(v, all, g.parties), nil
}

// statusOf has no I/O.
func statusOf(v view, all members, own int) Status {
	st := Status{Generation: v.record.Generation, Parties: own}
	switch {
	case v.record.Inside > 0:
		st.Parties = v.record.Inside
	case v.gate != 0:
		st.Parties = v.keeper.Parties
	}
	for _, m := range all.sorted() {
		switch {
		case m.Parties != st.Parties || v.record.Inside == 0 && m.create < v.gate:
		case v.record.Inside > 0 && !m.Leaving:
			st.Inside = append(st.Inside, m.Party)
		case v.gate != 0:
			st.Present = append(st.Present, m.Party)
		}
	}
	st.Missing = max(0, st.Parties-len(st.Present))
	return st
}
