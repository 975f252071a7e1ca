package stand

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// What is started answers, and what is ended does not.
func TestStand_NATS(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "tidemark")
	if err := os.WriteFile(binary, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := New(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	url, end, err := s.NATS()
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(url, "nats://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO ") {
		t.Errorf("the server at %s says %q, %v", url, line, err)
	}
	conn.Close()
	end()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("the ended server still answers")
	}
}

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
