# nvme-discoverd: `make help` lists what there is to call.

SHELL = /bin/bash
.SHELLFLAGS = -euo pipefail -c

PREFIX ?= /usr
DESTDIR ?=
SYSCONFDIR ?= /etc
SBINDIR = $(DESTDIR)$(PREFIX)/sbin
UNITDIR = $(DESTDIR)$(PREFIX)/lib/systemd/system
CATALOGDIR = $(DESTDIR)$(PREFIX)/lib/systemd/catalog
UDEVDIR = $(DESTDIR)$(PREFIX)/lib/udev/rules.d
MANDIR = $(DESTDIR)$(PREFIX)/share/man
DOCDIR = $(DESTDIR)$(PREFIX)/share/doc/nvme-discoverd
EXAMPLEDIR = $(DOCDIR)/examples
CONFDIR = $(DESTDIR)$(SYSCONFDIR)/nvme

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PROGRAMS = nvme-discoverd nvme-discoverctl
MANPAGES = $(wildcard docs/man/*.[578])
DOCS = $(filter-out docs/architecture.md,$(wildcard docs/*.md))
PLOTS = $(wildcard docs/performance/*.svg)

# The tools of `make lint`, which Go itself fetches and builds in exactly the versions that tools.mod names.
GOFUMPT = go tool -modfile=.ci/tools.mod gofumpt
STATICCHECK = go tool -modfile=.ci/tools.mod staticcheck

# Of the end-to-end targets: RUN picks scenarios by name, ALL=1 takes those too that seldom run, COUNT repeats all, REPEAT=1
# gives one that fails a second chance, KEEP names a directory for the consoles.
RUN ?=
COUNT ?=
KEEP ?=
ALL ?=
REPEAT ?=
MACHINE = go run ./internal/e2e/run $(if $(RUN),-run '$(value RUN)') $(if $(ALL),-all) $(if $(COUNT),-count '$(COUNT)') $(if $(REPEAT),-repeat) \
	$(if $(KEEP),-keep '$(KEEP)')
# Of the simulation: how many seeds, and the first one.
SEEDS ?= 1000000
FROM ?= 1
TIME ?= 1m
TIMEOUT ?= 1h
VULNDB ?=

.DEFAULT_GOAL = help
.PHONY: help build install uninstall test sim lint vuln fuzz fleet e2e demo bench soak check check-all clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

build: ## compile both programs, static, into bin/
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ $(PROGRAMS:%=./cmd/%)

install: build ## install below DESTDIR= and PREFIX=/usr (an existing discoverd.conf stays as it is)
	install -d '$(SBINDIR)' '$(UNITDIR)' '$(CATALOGDIR)' '$(UDEVDIR)' '$(CONFDIR)'
	install -m 0755 $(PROGRAMS:%=bin/%) '$(SBINDIR)'
	sed 's|/usr/sbin/nvme-discover|$(PREFIX)/sbin/nvme-discover|' systemd/nvme-discoverd.service | install -m 0644 /dev/stdin '$(UNITDIR)/nvme-discoverd.service'
	sed 's|/usr/sbin/nvme-discover|$(PREFIX)/sbin/nvme-discover|' systemd/nvme-fabrics-shutdown.service | install -m 0644 /dev/stdin '$(UNITDIR)/nvme-fabrics-shutdown.service'
	install -m 0644 systemd/nvme-discoverd.catalog '$(CATALOGDIR)'
	sed 's|/usr/sbin/nvme-discover|$(PREFIX)/sbin/nvme-discover|' udev/70-nvme-discoverd-registry.rules | install -m 0644 /dev/stdin '$(UDEVDIR)/70-nvme-discoverd-registry.rules'
	install -d '$(EXAMPLEDIR)'
	sed 's|/usr/sbin/nvme-discover|$(PREFIX)/sbin/nvme-discover|' docs/examples/70-nvmet-heal.rules | install -m 0644 /dev/stdin '$(EXAMPLEDIR)/70-nvmet-heal.rules'
	install -m 0644 docs/examples/blk-availability.conf '$(EXAMPLEDIR)'
	install -m 0644 $(DOCS) '$(DOCDIR)'
	install -D -m 0644 -t '$(DOCDIR)/performance' $(PLOTS)
	for page in $(MANPAGES); do install -D -m 0644 -t '$(MANDIR)'/man"$${page##*.}" "$$page"; done
	[ -e '$(CONFDIR)/discoverd.conf' ] || install -m 0644 systemd/discoverd.conf '$(CONFDIR)'

uninstall: ## remove what install installed (discoverd.conf stays)
	rm -f $(PROGRAMS:%='$(SBINDIR)/%') '$(UNITDIR)/nvme-discoverd.service' '$(UNITDIR)/nvme-fabrics-shutdown.service' \
		'$(CATALOGDIR)/nvme-discoverd.catalog' '$(UDEVDIR)/70-nvme-discoverd-registry.rules' '$(EXAMPLEDIR)/70-nvmet-heal.rules' '$(EXAMPLEDIR)/blk-availability.conf'
	rm -f $(DOCS:docs/%='$(DOCDIR)/%') $(PLOTS:docs/%='$(DOCDIR)/%')
	for page in $(notdir $(MANPAGES)); do rm -f '$(MANDIR)'/man"$${page##*.}/$$page"; done

test: ## unit tests, the seeds of the fuzz tests among them, under the race detector
	@.ci/setup gcc dbus-daemon ip
	CGO_ENABLED=1 go test -race ./...
	go test ./internal/sim

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

e2e: ## boot the machine and run the scenarios in it (RUN=regexp picks some, ALL=1 takes those too that seldom run, COUNT=number repeats them, KEEP=dir keeps the consoles)
	@.ci/setup mmdebstrap mke2fs
	@$(MACHINE) -timeout $(TIMEOUT) scenarios

demo: ## boot the machine and show what the service does, as it happens
	@.ci/setup mmdebstrap mke2fs
	@$(MACHINE) demo

bench: ## boot the machine and measure, next to nvme connect-all
	@.ci/setup mmdebstrap mke2fs
	@$(MACHINE) -timeout 60m bench

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
check-all: lint test e2e fuzz soak ## everything, however long: all scenarios, every fuzz test, random faults

clean: ## remove bin/ (the machine's image stays in the user's cache directory)
	rm -rf bin
