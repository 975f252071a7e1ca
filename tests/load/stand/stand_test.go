package stand

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestNew_wantsABinary(t *testing.T) {
	t.Parallel()
	if s, err := New(filepath.Join(t.TempDir(), "nothing")); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("a stand without a server: %v, %v", s, err)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	token, err := Token("a secret of the tests, thirty-two bytes or more", "subject-7")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return []byte("a secret of the tests, thirty-two bytes or more"), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	if err != nil {
		t.Fatal(err)
	}
	if subject, _ := parsed.Claims.GetSubject(); subject != "subject-7" {
		t.Errorf("the token is %q's", subject)
	}
}
