// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !race

package sim

// defaultSeeds is what issue and release demand of a plain run.
const defaultSeeds = 20_000
