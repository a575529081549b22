// SPDX-License-Identifier: GPL-3.0-or-later

// Package packaging holds what turns the tree into packages, and the tests of `make build`, `make install`, `make uninstall`,
// `make dist` and `make packages`. Nothing of the product uses it.
package packaging
