package access_test

import (
	"os"
	"testing"

	"github.com/tidemark/tidemark/tests/contract"
)

// Every answer that these tests get is held against openapi.yaml, too.
func TestMain(m *testing.M) { os.Exit(contract.Run(m)) }
