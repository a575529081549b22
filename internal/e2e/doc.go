// SPDX-License-Identifier: GPL-3.0-or-later

// Package e2e holds the end-to-end machine: a Debian system (SUITE=, usually trixie) with systemd as PID 1 in a software-emulated computer, into
// which the tree is installed as `make install` installs it, and in which scenarios run against a real kernel target.
//
//   - machine builds what is booted (base image, QEMU) and boots it: the host side.
//   - run is the command behind `make e2e`, `make demo`, `make bench` and `make soak`.
//   - follow follows what happens inside, so that scenarios wait for events and seldom poll.
//   - guest has the scenarios, ordinary Go tests that run as root inside, and the hands and eyes that they use.
//   - demo, bench and soak are more programs for the inside.
//
// One run may emulate several computers, as many at a time as have two processors for each of the host's, eight at most
// (run/plan.go). A computer has two, but for those among which the usual scenarios are divided and the one of scenarios that wait
// most of the time, which have one each. A scenario says in directives below its comment what else it needs (run/traits.go):
//
//   - //e2e:patient: it waits most of the time, on a computer with one processor that such scenarios share.
//   - //e2e:crowded: much happens at one time, on a computer with two processors that such scenarios share.
//   - //e2e:apart: it leaves things in the kernel that cannot be removed; such scenarios (Fibre Channel) share a computer.
//   - //e2e:ordinary: it needs Debian's ordinary kernel (RDMA). All others run under the cloud kernel, which boots quickest.
//   - //e2e:previous: it needs an earlier build of the programs.
//   - //e2e:packages: it needs this tree as packages, of two versions.
//   - //e2e:everywhere: it runs in `make matrix`, on every Debian release that the machine can be made of (machine/suite.go).
//   - //e2e:only SUITE: it needs what only that Debian release has.
//   - //e2e:seldom: it runs in `make check-all` and when RUN= names it, not in `make check`.
//   - //e2e:parameter WORD and //e2e:on-fabric (only for stages): a word for the kernel's command line; a root file system on a
//     fabric, which the ordinary kernel's initial RAM disk connects (machine/initrd/fabric).
//
// Scenarios that put back what they change share a connected scene (guest.Shared) with those that run before and after
// them, on one computer. Each is a scenario by itself all the same, and begins with a scene of its own where there is none to share.
//
// A scenario of several boots is written as stages, functions whose names end in _1, _2 and so on (guest/poweroff.go), and has a
// computer of its own.
//
// In `make check` a scenario that fails runs once more, alone on a fresh machine, and so does what a machine that died never
// began. One that passes then is flaky; more than two flaky ones fail the run (run/report.go).
//
// Everything that runs inside has the build tag e2e, so that `go test ./...` never touches the host's own controllers, but for follow,
// which touches nothing.
package e2e
