// SPDX-License-Identifier: GPL-3.0-or-later

package main

import "context"

// packageVersions are the versions as which this tree is packaged, so that there is something to upgrade.
var packageVersions = []string{"1.0.0", "1.0.1"}

// buildPackages puts packages of this tree into a directory.
func buildPackages(ctx context.Context, into string) error {
	for _, version := range packageVersions {
		if err := command(ctx, nil, "make", "--no-print-directory", "packages", "VERSION="+version, "ARCHS=amd64", "PACKAGES="+into); err != nil {
			return err
		}
	}
	return nil
}
