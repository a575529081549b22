# SPDX-License-Identifier: GPL-3.0-or-later
# nvme-discoverd: `make help` lists what there is to call.

SHELL = /bin/bash
.SHELLFLAGS = -euo pipefail -c

# Where things go; packagers set these like DESTDIR. The same values for build, install and uninstall.
PREFIX ?= /usr
DESTDIR ?=
SYSCONFDIR ?= /etc
SBINDIR ?= $(PREFIX)/sbin
BINDIR ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system
GENERATORDIR ?= $(PREFIX)/lib/systemd/system-generators
PRESETDIR ?= $(PREFIX)/lib/systemd/system-preset
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/nvme-discoverd
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/site-functions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d
EXAMPLEDIR = $(DOCDIR)/examples
CONFDIR = $(SYSCONFDIR)/nvme

# Where build leaves what install takes.
BIN = bin
# The linker's options; `make build LDFLAGS=` keeps symbols. Options of the C linker, which distributions put there, are left out.
LDFLAGS ?= -s -w
GO_LDFLAGS = $(filter-out -Wl% -specs=%,$(LDFLAGS))

# A tarball of `make dist` has its version in a file, and the time of its commit.
VERSION ?= $(or $(firstword $(shell cat .version 2>/dev/null)),$(shell git describe --tags --always --dirty 2>/dev/null),unknown)
PROGRAMS = nvme-discoverd nvme-discoverctl
UNITS = nvme-discoverd.service nvme-discoverd-wait-online.service nvme-fabrics-shutdown.service
MANPAGES = $(wildcard docs/man/*.[578])
PLOTS = $(wildcard docs/performance/*.svg)
DOCS = $(filter-out docs/architecture.md,$(wildcard docs/*.md)) $(wildcard CHANGELOG.md SECURITY.md)
EXAMPLES = $(wildcard docs/examples/*)
COMPLETIONS = bash zsh fish

# place TEXT,DIRECTORY installs a text, with the paths of this installation in place of the usual ones (man pages write hyphens
# as "\-").
place = sed -e 's|/usr/sbin/nvme-discoverd|$(SBINDIR)/nvme-discoverd|g' -e 's|/usr/bin/nvme-discoverctl|$(BINDIR)/nvme-discoverctl|g' \
	-e 's|/usr/share/doc/nvme-discoverd|$(DOCDIR)|g' -e 's|/usr/share/doc/nvme\\-discoverd|$(subst -,\\-,$(DOCDIR))|g' \
	'$(1)' | install -D -m 0644 /dev/stdin '$(DESTDIR)$(2)/$(notdir $(1))'

# The tools of `make lint`, which Go itself fetches and builds in exactly the versions that tools.mod names.
GOFUMPT = go tool -modfile=.ci/tools.mod gofumpt
STATICCHECK = go tool -modfile=.ci/tools.mod staticcheck

# Of the end-to-end targets: SUITE is the Debian release inside (bookworm, trixie, sid), RUN picks scenarios by name, ALL=1 takes
# those too that seldom run, COUNT repeats all, REPEAT=1 gives one that fails a second chance, KEEP names a directory for the consoles.
RUN ?=
COUNT ?=
KEEP ?=
ALL ?=
REPEAT ?=
SUITE ?= trixie
MATRIX ?= bookworm trixie sid
MACHINE = go run ./internal/e2e/run -suite '$(SUITE)' $(if $(RUN),-run '$(value RUN)') $(if $(ALL),-all) $(if $(COUNT),-count '$(COUNT)') $(if $(REPEAT),-repeat) \
	$(if $(KEEP),-keep '$(KEEP)')
# Of the simulation: how many seeds, and the first one.
SEEDS ?= 1000000
FROM ?= 1
TIME ?= 1m
TIMEOUT ?= 1h
VULNDB ?=
# Where the tarball goes. Of packages: where they go, and the architectures that they are for.
DIST = bin/dist
PACKAGES = bin/packages
ARCHS ?= amd64 arm64 ppc64le s390x
export MAINTAINER

.DEFAULT_GOAL = help
.PHONY: help build install uninstall dist packages test test-packages sim lint vuln fuzz fleet picture replay e2e matrix demo bench soak check check-all clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

build: ## compile both programs, static, into bin/ (GOFLAGS=, LDFLAGS=, GOARCH= as usual)
	@mkdir -p '$(BIN)'
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(GO_LDFLAGS) -X main.version=$(VERSION)' -o '$(BIN)/' $(PROGRAMS:%=./cmd/%)
	@unset GOOS GOARCH; for shell in $(COMPLETIONS); do \
		CGO_ENABLED=0 go run -trimpath ./cmd/nvme-discoverctl completion $$shell >'$(BIN)'/completion.$$shell; done

install: ## install what build made, below DESTDIR= and PREFIX=/usr (an existing discoverd.conf stays as it is)
	@for file in $(PROGRAMS) $(COMPLETIONS:%=completion.%); do [ -e '$(BIN)'/$$file ] || \
		{ echo "cannot install: there is no $(BIN)/$$file: call 'make build' first" >&2; exit 1; }; done
	install -D -m 0755 -t '$(DESTDIR)$(SBINDIR)' '$(BIN)/nvme-discoverd'
	install -D -m 0755 -t '$(DESTDIR)$(BINDIR)' '$(BIN)/nvme-discoverctl'
# Units that an earlier build started, when it had both programs in sbin, run nvme-discoverctl from there to disconnect.
	@[ '$(DESTDIR)$(SBINDIR)' -ef '$(DESTDIR)$(BINDIR)' ] || ln -sfrT '$(DESTDIR)$(BINDIR)/nvme-discoverctl' '$(DESTDIR)$(SBINDIR)/nvme-discoverctl'
	@$(foreach unit,$(UNITS),$(call place,systemd/$(unit),$(UNITDIR));)
	install -D -m 0755 -t '$(DESTDIR)$(GENERATORDIR)' systemd/nvme-discoverd-generator
	@$(call place,systemd/90-nvme-discoverd.preset,$(PRESETDIR))
	@$(call place,systemd/nvme-discoverd.catalog,$(CATALOGDIR))
	@$(call place,udev/70-nvme-discoverd-registry.rules,$(UDEVDIR))
	@$(foreach text,$(DOCS),$(call place,$(text),$(DOCDIR));)
	@$(foreach text,$(EXAMPLES),$(call place,$(text),$(EXAMPLEDIR));)
	install -D -m 0644 -t '$(DESTDIR)$(DOCDIR)/performance' $(PLOTS)
	@$(foreach page,$(MANPAGES),$(call place,$(page),$(MANDIR)/man$(patsubst .%,%,$(suffix $(page))));)
	install -D -m 0644 '$(BIN)/completion.bash' '$(DESTDIR)$(BASHCOMPDIR)/nvme-discoverctl'
	install -D -m 0644 '$(BIN)/completion.zsh' '$(DESTDIR)$(ZSHCOMPDIR)/_nvme-discoverctl'
	install -D -m 0644 '$(BIN)/completion.fish' '$(DESTDIR)$(FISHCOMPDIR)/nvme-discoverctl.fish'
	@[ -e '$(DESTDIR)$(CONFDIR)/discoverd.conf' ] || { $(call place,systemd/discoverd.conf,$(CONFDIR)); }

uninstall: ## remove what install installed (a discoverd.conf that was changed stays)
	cd '$(DESTDIR)/' && rm -f $(foreach file,$(PROGRAMS:%=$(SBINDIR)/%) $(BINDIR)/nvme-discoverctl $(UNITS:%=$(UNITDIR)/%) \
		$(GENERATORDIR)/nvme-discoverd-generator $(PRESETDIR)/90-nvme-discoverd.preset $(CATALOGDIR)/nvme-discoverd.catalog $(UDEVDIR)/70-nvme-discoverd-registry.rules \
		$(addprefix $(DOCDIR)/,$(notdir $(DOCS))) $(addprefix $(EXAMPLEDIR)/,$(notdir $(EXAMPLES))) \
		$(PLOTS:docs/%=$(DOCDIR)/%) \
		$(foreach page,$(notdir $(MANPAGES)),$(MANDIR)/man$(patsubst .%,%,$(suffix $(page)))/$(page)) \
		$(BASHCOMPDIR)/nvme-discoverctl $(ZSHCOMPDIR)/_nvme-discoverctl $(FISHCOMPDIR)/nvme-discoverctl.fish,'.$(file)')
	@! cmp -s systemd/discoverd.conf '$(DESTDIR)$(CONFDIR)/discoverd.conf' || rm '$(DESTDIR)$(CONFDIR)/discoverd.conf'
# Directories: on a host only those of ours, in a DESTDIR all that are empty.
	@cd '$(DESTDIR)/' && rmdir $(if $(DESTDIR),-p) --ignore-fail-on-non-empty '.$(EXAMPLEDIR)' '.$(DOCDIR)/performance' '.$(DOCDIR)' '.$(CONFDIR)' 2>/dev/null || :
	@[ -z '$(DESTDIR)' ] || cd '$(DESTDIR)' && for dir in $(patsubst %,'.%',$(SBINDIR) $(BINDIR) $(UNITDIR) $(GENERATORDIR) $(PRESETDIR) $(CATALOGDIR) $(UDEVDIR) \
		$(foreach section,$(sort $(suffix $(MANPAGES))),$(MANDIR)/man$(section:.%=%)) $(BASHCOMPDIR) $(ZSHCOMPDIR) $(FISHCOMPDIR)); do \
		rmdir -p --ignore-fail-on-non-empty "$$dir" 2>/dev/null || :; done

dist: ## make a tarball of the last commit, with all modules, that builds offline: bin/dist/
	@internal/packaging/make-dist '$(DIST)'

packages: ## make .deb and .rpm packages: bin/packages/ (ARCHS='amd64 arm64 ppc64le s390x', MAINTAINER='Name <address>')
	@internal/packaging/make-packages '$(VERSION)' '$(PACKAGES)' $(ARCHS)

test-packages: ## lintian and rpmlint on the packages of every architecture, and those with RPM installed, upgraded and removed in a directory
	@.ci/setup lintian rpm rpmlint
	go test ./internal/packaging -run '^(TestPackagesLint|TestRPM)$$' -packages -count=1 -timeout 30m

ifneq ($(origin ARCH),command line)
test: ## unit tests, the seeds of the fuzz tests among them, under the race detector (ARCH=s390x: what reads bytes, emulated)
	@.ci/setup gcc dbus-daemon ip promtool python3
	CGO_ENABLED=1 go test -race ./...
	go test ./internal/sim
else
# What reads bytes of others, on another machine (s390x is big-endian), in QEMU's user emulation. Left out is what that cannot do:
# netlink messages that it does not know, ioctls that it does not know, and a test that compiles a program and runs it.
QEMU = qemu-$(or $(patsubst arm64,aarch64,$(filter arm64,$(ARCH))),$(ARCH))-static
READERS = $(addprefix ./internal/,api/... atomicfile blockuse config exclusion fabrics fc journal keyring nbft netlink netwatch param probe psk \
	rdma registry secret state sysfs tid uevent unit wish)
EMULATED = CGO_ENABLED=0 GOARCH=$(ARCH) go test -exec $(QEMU)
test:
	@.ci/setup dbus-daemon ip $(QEMU)
	$(EMULATED) -skip '^(TestDumpRefused|TestKernel|TestHostInterfaces|TestGeneratedCodeIsFresh)$$' $(READERS)
	$(EMULATED) -skip '^TestRead$$' ./internal/discoverylog
endif

sim: ## simulate SEEDS=1000000 hosts from number FROM=1 on, on every processor; names the first ten that fail, each with its replay
	go test ./internal/sim -run '^TestSeeds$$' -sim.seeds=$(SEEDS) -sim.from=$(FROM) -sim.progress=10s -count=1 -timeout 0 -v

lint: ## formatting, vet and staticcheck, the end-to-end code included
	@unformatted="$$($(GOFUMPT) -l cmd docs internal)"; \
	if [ -n "$$unformatted" ]; then printf 'not formatted (run gofumpt -w):\n%s\n' "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags e2e ./...
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags e2e ./...

vuln: ## look known vulnerabilities of the dependencies up (needs the network; VULNDB=URL names a mirror of the database)
	go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 $(if $(VULNDB),-db '$(VULNDB)') ./...

fuzz: ## run every fuzz test for TIME=1m each
	@go list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.Dir}}/{{.}} {{$$p.ImportPath}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$p.Dir}}/{{.}} {{$$p.ImportPath}}{{"\n"}}{{end}}' ./... | \
	while read -r file package; do \
		[ -n "$$file" ] || continue; \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "== $$package $$name"; go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(TIME) "$$package"; \
		done; \
	done

fleet: ## simulate 5000 hosts whose array is rebooted, print the tables of docs/performance.md and draw its plot
	go run ./internal/sim/fleet/plot

picture: ## draw the picture of README.md, docs/topology.svg
	go test ./internal/cli -run '^TestPicture$$' -count=1 -update

replay: ## turn the recording FILE=x.nvmerec into a test of the core, see docs/incidents.md (SINCE=, UNTIL=: times; NAMES=1 keeps names and addresses)
	@go run ./internal/recording/incident/script $(if $(SINCE),-since '$(SINCE)') $(if $(UNTIL),-until '$(UNTIL)') $(if $(NAMES),-names) '$(FILE)'

e2e: ## boot the machine and run the scenarios in it (RUN=regexp picks some, ALL=1 takes those too that seldom run, COUNT=number repeats them, SUITE=bookworm|trixie|sid, KEEP=dir keeps the consoles)
	@.ci/setup mmdebstrap mke2fs
	@$(MACHINE) -timeout $(TIMEOUT) scenarios

matrix: ## run a selection of the scenarios on each Debian release of MATRIX='bookworm trixie sid'
	@.ci/setup mmdebstrap mke2fs
	@for suite in $(MATRIX); do echo "== $$suite"; go run ./internal/e2e/run -suite $$suite -matrix $(if $(RUN),-run '$(value RUN)') \
		$(if $(KEEP),-keep '$(KEEP)'/$$suite) -timeout $(TIMEOUT) scenarios; done

demo: ## boot the machine and show what the service does, as it happens
	@.ci/setup mmdebstrap mke2fs
	@$(MACHINE) demo

bench: N = 20 100
bench: ## boot the machine and measure, next to nvme connect-all (N='20 100' subsystems; TRACE=1 shows instead where the time of a connection goes, next to both floors)
	@.ci/setup mmdebstrap mke2fs
	@$(MACHINE) -timeout 60m bench -n '$(N)' $(if $(TRACE),-trace)

soak: TIME = 20m
soak: ## random faults in the machine for TIME=20m, checked from outside (SEED=number repeats them, RUN=regexp picks some)
	@.ci/setup mmdebstrap mke2fs
	@go run ./internal/e2e/run $(if $(KEEP),-keep '$(KEEP)') -timeout 100h soak -time $(TIME) $(if $(SEED),-seed $(SEED)) $(if $(RUN),-faults '$(RUN)')

check: REPEAT = 1
check: KEEP = bin/consoles
check: lint test e2e ## what decides about a change: lint, unit tests, end-to-end scenarios (one that fails runs once more, alone)

check-all: ALL = 1
check-all: KEEP = bin/consoles
check-all: TIMEOUT = 5h
check-all: MATRIX = bookworm sid
check-all: lint test test-packages sim e2e matrix fuzz soak ## everything, however long: all scenarios, other Debian releases, a million simulated hosts, every fuzz test, random faults

clean: ## remove bin/ (the machine's image stays in the user's cache directory)
	rm -rf bin
