// Package nginx configures the nginx that tests and `make cluster` put in front
// of nodes.
package nginx

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Find returns the path of nginx: what the variable NGINX names, else what is in
// PATH or where packages put it, which is not in everybody's.
func Find() (string, error) {
	if named := os.Getenv("NGINX"); named != "" {
		return exec.LookPath(named)
	}
	for _, path := range []string{"nginx", "/usr/sbin/nginx", "/opt/homebrew/bin/nginx"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", errors.New("nginx is not installed, nor named in NGINX")
}

// configuration is what a user would write who reads no manual: that streams and
// long polls go through it is for the server to see to. The group of nodes is
// called localhost because nginx sends that name as the host, and a server without
// auth answers to no other. Only sockets need lines of their own: those of deploy/README.md.
// The rest keeps nginx in its folder, and in one process,
// which can be ended.
const configuration = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream localhost {
		server %[3]s;
	}
	server {
		listen %[2]s;
		location / {
			proxy_pass http://localhost;
		}
		location ~ ^/v1/spaces/[^/]+/socket$ {
			proxy_pass http://localhost;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_read_timeout 1h;
		}
	}
}
`

// Command returns the command that runs the nginx at path as a round-robin of
// the nodes at these URLs. What it writes, its configuration too, lies in dir.
func Command(path, dir, listen string, nodes ...string) (*exec.Cmd, error) {
	hosts := make([]string, len(nodes))
	for i, node := range nodes {
		hosts[i] = strings.TrimPrefix(node, "http://")
	}
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Appendf(nil, configuration, dir, listen, strings.Join(hosts, ";\n\t\tserver "))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	return exec.Command(path, "-p", dir, "-e", "stderr", "-c", file), nil
}
