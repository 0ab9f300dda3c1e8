// Package fleet knows which instance of a service has applied which
// configuration, and rolls changes out step by step.
//
//	instance ── Join ──▶ report, under its session's lease ──▶ Reports, WaitApplied
//	         ◀── draft ── Plan ── asks every instance's own validation
//
//	Rollout: some instances ─ applied, healthy, quiet ─▶ more ─▶ everybody
//	                        ╰ rejected, unhealthy, gone ─▶ taken back
//
// Instances report: the revision they have in force, what they rejected and
// why, and, if asked to, whether they are healthy. A report lives as long as
// the instance's session and follows it into its next epoch, so what Reports
// shows is alive, or was within a TTL.
//
// # What is not guaranteed
//
// A report follows what it reports: an instance may have applied a revision a
// moment before it says so, and an instance that is cut off is missing after
// its TTL and not earlier. Nobody steers a Rollout but the process that runs
// it: if that dies, the change stays where it is, for those who have it, until
// somebody calls Promote or Unstage.
package fleet
