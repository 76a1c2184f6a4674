# holdall: build, test, install. `make` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
DOCDIR ?= $(DATADIR)/doc/holdall
MANDIR ?= $(DATADIR)/man/man1
UNITDIR ?= $(PREFIX)/lib/systemd/system
DESTDIR ?=

CARGO ?= cargo
CARGO_DENY := target/tools/bin/cargo-deny
CARGO_DENY_VERSION := 0.20.2
BINARY := target/release/holdall
UNITS := holdall.service holdall.timer holdall-verify.service holdall-verify.timer
CI_STEPS := format house-rules shell clippy units deny test fuzz doc
# How long each fuzz target runs.
SECONDS ?= 10

.PHONY: help build try lint bench ci audit install uninstall $(CI_STEPS)

help: ## Say what can be made
	@printf 'make TARGET [PREFIX=%s] [SYSCONFDIR=%s] [UNITDIR=%s] [DESTDIR=]\n\n' '$(PREFIX)' '$(SYSCONFDIR)' '$(UNITDIR)'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-12s%s\n' "$$name" "$$text"; done

build: ## Build the program: target/release/holdall
	scripts/deps build
	$(CARGO) build --release --locked

try: build ## See it work: back up this checkout into a store below target/try and bring it back
	scripts/try

test: ## Install what the tests need, and run all of them
	scripts/deps build test
	scripts/test

fuzz: ## Feed the parsers of stored files with random bytes, for SECONDS=10
	scripts/deps build fuzz
	scripts/fuzz $(SECONDS)

lint: format house-rules shell clippy units ## Check format, lints, house rules, scripts and units

format:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml

house-rules:
	scripts/house-rules

shell:
	scripts/deps lint
	shellcheck scripts/* .ci/run
	shellcheck --shell=bash src/commands/completions/holdall.bash

clippy:
	scripts/deps build
	$(CARGO) clippy --locked --all-targets -- -D warnings

units:
	scripts/deps lint
	scripts/check-units

bench: build ## Measure side by side with restic (over SSH with rsync, of engines with DockBack's way), and write the tables of doc/performance.md
	scripts/deps bench
	benches/compare

doc: ## Build the documentation of the code
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items

deny: $(CARGO_DENY) ## Check licences and sources of all dependencies
	$(CARGO_DENY) --locked check bans licenses sources

# The list of advisories is fetched from a git repository, which a closed build machine does not reach: not part of `ci`.
audit: $(CARGO_DENY) ## Check dependencies for known vulnerabilities; needs the network
	$(CARGO_DENY) --locked check advisories

$(CARGO_DENY):
	$(CARGO) install --locked --quiet --debug --root target/tools cargo-deny@$(CARGO_DENY_VERSION)

ci: ## Everything that must pass before a change lands, in order, with the time each step took
	@begun=$$SECONDS; for step in $(CI_STEPS); do scripts/timed $$step $(MAKE) --no-print-directory $$step; done; \
	printf 'ci: all passed in %d s\n' $$((SECONDS - begun))

# Only when it is missing: `sudo make install` after `make build` compiles nothing as root.
$(BINARY):
	$(MAKE) build

install: $(BINARY) ## Install program, units, manual pages, completions and example configuration
	install -d $(addprefix '$(DESTDIR)',$(BINDIR) $(DOCDIR) $(MANDIR) $(UNITDIR) $(SYSCONFDIR)/holdall)
	install -m 755 -s $(BINARY) '$(DESTDIR)$(BINDIR)/holdall'
	install -m 644 config.toml.example '$(DESTDIR)$(SYSCONFDIR)/holdall/config.toml.example'
	install -m 644 $(wildcard *.md doc/*.md) LICENSE '$(DESTDIR)$(DOCDIR)'
	install -m 644 contrib/cron/holdall '$(DESTDIR)$(DOCDIR)/holdall.cron'
	$(BINARY) man '$(DESTDIR)$(MANDIR)' >/dev/null
	chmod 644 '$(DESTDIR)$(MANDIR)'/holdall*.1
	scripts/completions $(BINARY) '$(DESTDIR)$(DATADIR)'
	for unit in $(UNITS); do \
		sed 's|/usr/local/bin/holdall|$(BINDIR)/holdall|' "contrib/systemd/$$unit" > '$(DESTDIR)$(UNITDIR)'/"$$unit"; \
		chmod 644 '$(DESTDIR)$(UNITDIR)'/"$$unit"; \
	done

uninstall: ## Remove what install put there; configuration and stores stay
	rm -f '$(DESTDIR)$(BINDIR)/holdall' '$(DESTDIR)$(MANDIR)'/holdall.1 '$(DESTDIR)$(MANDIR)'/holdall-*.1
	rm -f $(addprefix '$(DESTDIR)$(UNITDIR)'/,$(UNITS)) '$(DESTDIR)$(SYSCONFDIR)/holdall/config.toml.example'
	rm -f '$(DESTDIR)$(DATADIR)/bash-completion/completions/holdall' '$(DESTDIR)$(DATADIR)/zsh/site-functions/_holdall' \
		'$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/holdall.fish'
	rm -rf '$(DESTDIR)$(DOCDIR)'
