// SPDX-License-Identifier: GPL-3.0-or-later

package orgnvmexpressdiscoverd

//go:generate go run github.com/varlink/go/cmd/varlink-go-interface-generator org.nvmexpress.discoverd.varlink
