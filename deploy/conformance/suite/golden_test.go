package suite

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gygate/diameter"
)

// golden reads one of the messages of the independent encoder, which package
// diameter keeps and checks.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "..", "..", "diameter", "testdata", "golden", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(file)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	raw, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// goldenMessage is a golden as a message.
func goldenMessage(t testing.TB, name string) diameter.Message {
	t.Helper()
	m, err := diameter.ParseMessage(golden(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// askGolden sends a golden request and returns its answer.
func (c *client) askGolden(name string) diameter.Message {
	c.t.Helper()
	frame := golden(c.t, name)
	c.raw(frame)
	m, err := diameter.ParseMessage(frame)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.answer(m.Header)
}
