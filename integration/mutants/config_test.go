package mutants

import "testing"

func TestMistakesInConfigurationAreCaught(t *testing.T) {
	catch(t, "TestConfigHoldsUnderFaults", configMutants)
}

var configMutants = []mutant{
	{
		name: "a new value is merged into the old one",
		edits: []edit{{"config/pipeline.go", "	l.merged = p.merge(l.layers, p.opts.order)\n",
			"	l.merged = p.merge(l.layers, p.opts.order)\n	if before != nil {\n		l.merged = tree.Merge(before.merged, l.merged)\n	}\n"}},
		rule: "C1",
	},
	{
		name:  "a value is used before it is validated",
		edits: []edit{{"config/pipeline.go", "	if err := p.check(value); err != nil {\n		return nil, err\n	}\n", "	_ = p.check(value)\n"}},
		rule:  "C1",
	},
	{
		name:  "a broken watch resumes one revision too late",
		edits: []edit{{"internal/prefixwatch/watch.go", "clientv3.WithRev(w.rev+1)", "clientv3.WithRev(w.rev+2)"}},
		test:  "conformance TestAValueThatWasCutOffHasAllThatWasWrittenMeanwhile",
	},
	{
		name:  "of several revisions at once only the last counts",
		edits: []edit{{"config/value.go", "	if update.Reset {\n", "	if true {\n"}},
		test:  "conformance TestAGoodRevisionRightBeforeABadOneIsReached",
	},
	{
		name:  "an update does not compare what it was computed from",
		edits: []edit{{"config/commit.go", "cmps := append(from.unchanged(v.place), ", "cmps := append([]clientv3.Cmp(nil), "}},
		rule:  "C4",
	},
	{
		name: "an update that was not answered is just made again",
		edits: []edit{{"config/commit.go", "	if !errors.Is(err, errUnanswered) {\n		return rev, err\n	}\n	return v.settle(ctx, from, v.place.slot(",
			"	if !errors.Is(err, errUnanswered) {\n		return rev, err\n	}\n	if ctx.Err() == nil {\n		return 0, errAgain\n	}\n	return v.settle(ctx, from, v.place.slot("}},
		rule: "C4",
	},
}
