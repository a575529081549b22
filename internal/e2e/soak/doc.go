// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

// Command soak plays with the service in the end-to-end machine for as long as it is told: rounds of random faults, and
// after each a look from outside whether all is as it should be. `make soak TIME=20m`.
package main
