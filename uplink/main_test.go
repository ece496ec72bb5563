package uplink_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing that was started may outlive the tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
