// SPDX-License-Identifier: GPL-3.0-or-later

//go:build race

package sim

// defaultSeeds is smaller under the race detector, which has little to find in a program without goroutines and makes it
// many times slower.
const defaultSeeds = 1_000
