package wire

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Target is where a deployment listens.
type Target struct {
	Address string // host:port
	Host    string // of the header
	Path    string // before /v1, without a slash at its end
	TLS     bool
}

// ParseTarget reads a base URL such as https://sync.example.com/tidemark.
func ParseTarget(base string) (Target, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Target{}, fmt.Errorf("%q is not a URL like https://sync.example.com", base)
	}
	t := Target{Address: u.Host, Host: u.Host, Path: strings.TrimSuffix(u.EscapedPath(), "/"), TLS: u.Scheme == "https"}
	if u.Port() == "" {
		port := "80"
		if t.TLS {
			port = "443"
		}
		t.Address = net.JoinHostPort(u.Hostname(), port)
	}
	return t, nil
}

// Get is the bytes of a GET. Headers are whole lines, without the line's end.
func (t Target) Get(path, token string, headers ...string) []byte {
	return append(t.head("GET", path, token, headers...), "\r\n"...)
}

// Post is the bytes of a POST.
func (t Target) Post(path, token string, body []byte) []byte {
	b := t.head("POST", path, token, "Content-Type: application/json", "Content-Length: "+strconv.Itoa(len(body)))
	b = append(b, "\r\n"...)
	return append(b, body...)
}

func (t Target) head(method, path, token string, headers ...string) []byte {
	b := []byte(method + " " + t.Path + path + " HTTP/1.1\r\nHost: " + t.Host + "\r\n")
	if token != "" {
		b = append(b, "Authorization: Bearer "+token+"\r\n"...)
	}
	for _, header := range headers {
		b = append(b, header+"\r\n"...)
	}
	return b
}
