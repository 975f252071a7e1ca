package nats

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// defaultSubject is the subject unless the URL's path names one.
const defaultSubject = "tidemark"

var subjects = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

var errURL = errors.New("a NATS URL looks like nats://USER:PASSWORD@HOST:4222/SUBJECT, without the path for the subject tidemark; servers of a cluster are separated by commas")

// parseURL returns the servers as the client takes them, and the subject. Its
// errors don't repeat the URL, which may hold a password.
func parseURL(text string) (servers []string, subject string, err error) {
	subject = defaultSubject
	for part := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Scheme != "nats" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, "", errURL
		}
		if path := strings.Trim(u.Path, "/"); path != "" {
			subject = path // of several servers, one names it
		}
		servers = append(servers, (&url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host}).String())
	}
	if !subjects.MatchString(subject) {
		return nil, "", errURL
	}
	return servers, subject, nil
}

// CheckURL returns what is wrong with a URL, without repeating it.
func CheckURL(url string) error {
	_, _, err := parseURL(url)
	return err
}
