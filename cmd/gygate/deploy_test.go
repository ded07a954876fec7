package main

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"gygate/cmd/gygate/config"
)

// The files of deploy name flags and keys of this very binary.

func TestDeployedConfigurationIsTheExample(t *testing.T) {
	if !bytes.Equal(deployed(t, "gygate.yaml"), config.Example()) {
		t.Error("deploy/gygate.yaml differs from `gygate config example`")
	}
}

func TestDeployedCommandsExist(t *testing.T) {
	unit := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/gygate (.+)$`).FindSubmatch(deployed(t, "gygate.service"))
	image := regexp.MustCompile(`(?m)^CMD (\[.+\])$`).FindSubmatch(deployed(t, "Dockerfile"))
	if unit == nil || image == nil {
		t.Fatal("no command in gygate.service or Dockerfile")
	}
	var inImage []string
	if err := json.Unmarshal(image[1], &inImage); err != nil {
		t.Fatal(err)
	}
	commands := map[string][]string{"gygate.service": strings.Fields(string(unit[1])), "Dockerfile": inImage}
	for name, service := range composed(t).Services {
		if len(service.Command) > 0 {
			commands["compose.yaml "+name] = service.Command
		}
	}
	if len(commands) != 4 {
		t.Errorf("commands %v", commands)
	}
	for where, args := range commands {
		cmd, flags, err := (&app{}).newRoot().Find(args)
		if err == nil {
			err = cmd.ParseFlags(flags)
		}
		if err != nil || !cmd.Runnable() || cmd.Flags().NArg() > 0 {
			t.Errorf("%s: gygate %q: %v", where, args, err)
		}
	}
}

func TestComposedConfigurationIsValid(t *testing.T) {
	c, err := config.Parse([]byte(composed(t).Configs["gygate"].Content))
	if err != nil {
		t.Fatal(err)
	}
	if c.Database.DSNFile == "" || len(c.Charging.Servers) == 0 {
		t.Errorf("configuration %+v", c)
	}
}

type composeFile struct {
	Services map[string]struct {
		Command []string `yaml:"command"`
	} `yaml:"services"`
	Configs map[string]struct {
		Content string `yaml:"content"`
	} `yaml:"configs"`
}

func composed(t *testing.T) (c composeFile) {
	t.Helper()
	if err := yaml.Unmarshal(deployed(t, "compose.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func deployed(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
