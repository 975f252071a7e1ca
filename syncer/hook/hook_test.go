package hook

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// The example of the specification, which all its libraries are tested with.
func TestSign_vector(t *testing.T) {
	t.Parallel()
	target, err := New("https://app.example.com", testSecret, 1)
	if err != nil {
		t.Fatal(err)
	}
	const want = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := target.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNew_wrong(t *testing.T) {
	t.Parallel()
	key := func(n int) string { return secretPrefix + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, good := range []string{"https://app.example.com/v", "http://127.0.0.1:1/v", "http://localhost/v", "http://[::1]/v", "https://app/v?tenant=1"} {
		if _, err := New(good, testSecret, 1); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "app.example.com", "/v", "ftp://app.example.com", "https://", "http://app.example.com", "http://192.168.0.1", "http://localhost.example", "https://u:p@app.example.com", "https://a b"} {
		if _, err := New(bad, testSecret, 1); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for secret, ok := range map[string]bool{
		"": false, "whsec_": false, "hush": false, "whsec_hush": false, "whsec_" + strings.Repeat("?", 32): false,
		key(23): false, key(24): true, key(64): true, key(65): false, strings.TrimPrefix(key(32), secretPrefix): true,
	} {
		if _, err := New("https://app.example.com", secret, 1); (err == nil) != ok {
			t.Errorf("secret %q: %v", secret, err)
		}
		if _, err := New("https://app.example.com", secret, 1); err != nil && secret != "" && len(secret) > 8 && strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("the secret is in %v", err)
		}
	}
}
