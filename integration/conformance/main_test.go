// Package conformance says, as behaviour, what Tenure promises, and checks it on
// a real etcd of one member and of three.
package conformance

import (
	"testing"

	"github.com/gotenure/tenure/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m, 1, 3) }
