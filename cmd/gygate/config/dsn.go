package config

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// EnvDSN is the environment variable that names the database.
const EnvDSN = "GYGATE_DSN"

// ResolveDSN finds the database's DSN: flag, environment, dsn_file, dsn, in that
// order. "" means the embedded database.
func (d Database) ResolveDSN(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env := os.Getenv(EnvDSN); env != "" {
		return env, nil
	}
	if d.DSNFile == "" {
		return d.DSN, nil
	}
	b, err := os.ReadFile(d.DSNFile)
	if err != nil {
		return "", fmt.Errorf("database.dsn_file: %w", err)
	}
	dsn := strings.TrimSpace(string(b))
	if dsn == "" {
		return "", fmt.Errorf("database.dsn_file: %s is empty", d.DSNFile)
	}
	return dsn, nil
}

// passwordWord finds the password of a keyword/value DSN.
var passwordWord = regexp.MustCompile(`(?i)(password\s*=\s*)('[^']*'|\S+)`)

// MaskDSN hides the password of a DSN in either of PostgreSQL's two forms.
func MaskDSN(dsn string) string {
	if !strings.Contains(dsn, "://") {
		return passwordWord.ReplaceAllString(dsn, "${1}"+masked)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return masked
	}
	shown := u.Redacted()
	if q := u.Query(); q.Has("password") {
		q.Set("password", masked)
		u.RawQuery = q.Encode()
		shown = u.Redacted()
	}
	return strings.Replace(shown, ":xxxxx@", ":"+masked+"@", 1)
}
