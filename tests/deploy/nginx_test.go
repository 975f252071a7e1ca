package deploy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/harness"
	"github.com/tidemark/tidemark/tests/process"
)

// What startNginx does with how long a node that has failed is left out.
const (
	asItIs   = "fail_timeout=1s"
	neverOut = "max_fails=0" // so that each turn meets a node that is gone
)

// startNginx runs nginx with deploy/nginx/local.conf, at other addresses: the HTTP
// listener's, that of TLS, and two nodes. It returns a client of its certificate.
func startNginx(t *testing.T, leftOut, listen, secure, node1, node2 string) *http.Client {
	t.Helper()
	path := harness.FindNginx(t)
	dir := checkout(t, strings.NewReplacer(
		"listen 8080;", "listen "+listen+";", "listen 8443 ", "listen "+secure+" ",
		"127.0.0.1:8081", node1, "127.0.0.1:8082", node2,
		asItIs, leftOut,
		"/etc/ssl/tidemark/", "../../",
	))
	pool := certify(t, dir)
	// As an operator makes it of the example.
	example := filepath.Join(dir, "deploy/nginx/tidemark-tls.conf")
	if err := os.Rename(example+".example", example); err != nil {
		t.Fatal(err)
	}
	// The folder is nginx's prefix.
	cmd := exec.CommandContext(t.Context(), path, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "deploy/nginx/local.conf"))
	log := filepath.Join(dir, "nginx.log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // its workers end with it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait() // says only how it ended
	}()
	t.Cleanup(func() {
		<-ended // the test's context, which has ended, has interrupted it
		out.Close()
		if said, _ := os.ReadFile(log); t.Failed() {
			t.Logf("nginx: %s", said)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), commandsTimeout)
	defer cancel()
	if err := process.AwaitReady(ctx, "http://"+listen, ended); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// certify writes fullchain.pem and privkey.pem for 127.0.0.1, and returns who trusts it.
func certify(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		"fullchain.pem": chain, "privkey.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(chain)
	return pool
}

// TestNginx_secure: by TLS clients get HTTP/2, on which an event of a stream arrives when
// it happens, and figures stay inside.
func TestNginx_secure(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{Secret: harness.Secret})
	at := freeAddresses(t, 2)
	node := strings.TrimPrefix(server.URL(), "http://")
	client := startNginx(t, neverOut, at[0], at[1], node, node)
	token := harness.Token(harness.Claims{"sub": "alice", "spaces": harness.Claims{"home": "rw"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	get := func(path string) *http.Response {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+at[1]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	stream := get("/v1/spaces/home/stream")
	if stream.StatusCode != http.StatusOK || stream.ProtoMajor != 2 {
		t.Fatalf("the stream is %s %s, want 200 by HTTP/2", stream.Proto, stream.Status)
	}
	lines := bufio.NewScanner(stream.Body)
	push := harness.Push{ClientID: "laptop", Edits: []harness.Edit{
		{EditID: "e1", Op: "put", Collection: "c", ID: "pushed", BaseVersion: harness.At(0), Data: []byte(`{}`)},
	}}
	if _, err := server.Client(token).Push(ctx, "home", push); err != nil {
		t.Fatal(err)
	}
	seen := false
	for !seen && lines.Scan() {
		seen = strings.HasPrefix(lines.Text(), "data:") && strings.Contains(lines.Text(), `"id":"pushed"`)
	}
	if !seen {
		t.Errorf("the stream does not bring what was pushed: %v", lines.Err())
	}
	if metrics := get("/metrics"); metrics.StatusCode != http.StatusNotFound {
		t.Errorf("/metrics is %s from outside", metrics.Status)
	}
}

// TestNginx_nodeDiesOverAPush: a node that is gone after it has read a push costs the
// client nothing. Every other request meets it.
func TestNginx_nodeDiesOverAPush(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{})
	dying, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dying.Close()
	read := make(chan string, 100)
	go func() {
		for {
			connection, err := dying.Accept()
			if err != nil {
				return // the test has ended
			}
			request, err := http.ReadRequest(bufio.NewReader(connection))
			if err == nil {
				body, _ := io.ReadAll(request.Body)
				read <- request.Method + " " + string(body)
			}
			connection.Close()
		}
	}()
	at := freeAddresses(t, 2)
	startNginx(t, neverOut, at[0], at[1], dying.Addr().String(), strings.TrimPrefix(server.URL(), "http://"))
	client := harness.NewClient(func() string { return "http://" + at[0] }, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; ; n++ {
		id := "e" + time.Now().Format("150405.000000000")
		answer, err := client.Push(ctx, "home", harness.Push{ClientID: "laptop", Edits: []harness.Edit{
			{EditID: id, Op: "put", Collection: "c", ID: id, BaseVersion: harness.At(0), Data: []byte(`{}`)},
		}})
		if err != nil || answer.Results[0].Status != "applied" {
			t.Fatalf("push %d: %+v, %v", n, answer, err)
		}
		select {
		case request := <-read:
			if strings.HasPrefix(request, "POST ") && strings.Contains(request, id) {
				return // this push was read by the node that died, and applied by the other
			}
		default:
		}
	}
}
