package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

type configCommand struct{}

// Run prints each setting with its value.
func (configCommand) Run(s *Settings, known variables, app *kong.Kong, out output) error {
	if err := errors.Join(known.check(), s.check()); err != nil {
		return err
	}
	if s.Broker == "" {
		s.Broker, _ = s.broker()
	}
	w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	for _, flag := range app.Model.Flags {
		if len(flag.Envs) > 0 {
			fmt.Fprintf(w, "%s\t%s\n", flag.Envs[0], shown(flag.Name, flag.Target.Interface()))
		}
	}
	return w.Flush()
}

// shown returns the value of a setting as it may be printed.
func shown(name string, value any) string {
	text := fmt.Sprint(value)
	switch list, isList := value.([]string); {
	case isList:
		text = strings.Join(list, ",")
	case text == "":
	case name == "auth-secret", name == "validation-secret", name == "webhook-secret":
		text = fmt.Sprintf("(hidden, %d bytes)", len(text))
	case name == "database-url", name == "migrate-url", name == "replica-url", name == "auth-jwks":
		text = redact(text)
	case name == "validation-url", name == "webhook-url":
		text = redactPath(text)
	case name == "broker":
		text = redactBroker(text)
	}
	if text == "" {
		return "(not set)"
	}
	return text
}

// redactPath hides all but the host: the path of a webhook is often its secret.
func redactPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "(hidden: not a valid URL)"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		shown.Path = "/xxxxx"
	}
	return shown.String()
}

// secretName is what the parameters of URLs that hold secrets are called.
var secretName = regexp.MustCompile(`(?i)pass|secret|token|key`)

// redact hides the secrets that a URL may hold. What is no URL is a file.
func redact(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "(hidden: not a valid URL)"
	}
	query := u.Query()
	for name := range query {
		if secretName.MatchString(name) {
			query.Set(name, "xxxxx")
		}
	}
	u.RawQuery = query.Encode()
	return u.Redacted()
}
