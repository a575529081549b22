// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// steps is how many commits back the build is that an upgrade starts from, as long as there is no release. A clone without so
// much history has to do with the same tree under another version.
const steps = 20

// buildPrevious puts the programs of an earlier revision of this tree into a directory; work is a new directory for it.
func buildPrevious(ctx context.Context, work, into string) error {
	for _, dir := range []string{work, into} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	source, version := ".", "an-earlier-build"
	if revision := git(ctx, "rev-parse", "--verify", "--quiet", "--short", "HEAD~"+strconv.Itoa(steps)); revision != "" {
		source, version = work, revision
		archive := filepath.Join(work, "tree.tar")
		if err := command(ctx, nil, "git", "archive", "--output="+archive, revision); err != nil {
			return err
		}
		if err := command(ctx, nil, "tar", "-C", work, "-xf", archive); err != nil {
			return err
		}
	}
	return command(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-C", source, "-buildvcs=false", "-trimpath",
		"-ldflags", "-X main.version="+version, "-o", into+"/", "./cmd/nvme-discoverd", "./cmd/nvme-discoverctl")
}

// git returns what a command of git's prints, "" if it fails.
func git(ctx context.Context, args ...string) string {
	output, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(output))
}
