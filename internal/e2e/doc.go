// Package e2e holds the end-to-end machine: a Debian system with systemd as PID 1 in a software-emulated computer, into
// which the tree is installed as `make install` installs it, and in which scenarios run against a real kernel target.
//
//   - machine builds what is booted (base image, QEMU) and boots it: the host side.
//   - run is the command behind `make e2e`, `make demo`, `make bench` and `make soak`.
//   - guest has the scenarios, ordinary Go tests that run as root inside, and the hands and eyes that they use.
//   - demo, bench and soak are more programs for the inside.
//
// One run may emulate several computers, as many at a time as have two processors for each of the host's, eight at most
// (run/plan.go). A computer has two, but for those among which the usual scenarios are divided and the one of scenarios that wait
// most of the time, which have one each; scenarios of much that happens at one time share one that has two. Scenarios named
// TestRDMA… run under Debian's ordinary kernel, all others under the cloud kernel, which boots quickest; those named TestFC… have a
// computer of their own. A scenario of several boots is written as stages, functions whose names end in _1, _2 and so on
// (guest/poweroff.go), and has one too. TestShutdownMultipath boots with the kernel's own multipath off, TestRootOnFabric from a
// root file system on a fabric, under the ordinary kernel, whose initial RAM disk connects it (machine/initrd/fabric).
//
// Everything that runs inside has the build tag e2e, so that `go test ./...` never touches the host's own controllers.
package e2e
