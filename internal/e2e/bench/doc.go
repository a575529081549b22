// Command bench measures, inside the end-to-end machine, how fast the service connects, next to nvme-cli: `make bench`.
//
// The machine is emulated and the host noisy: only ratios and orders of magnitude mean anything.
package main
