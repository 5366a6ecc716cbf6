# make test    everything that has to hold: unit tests, then the suites against the built binary
# make check   what CI asks besides: gofmt, vet for every supported system, staticcheck
#
# All that is installed goes to .cache/, which may be deleted at any time.

GO    ?= go
CACHE := $(CURDIR)/.cache

# The race detector needs a C compiler. CI must have one.
RACE  := $(if $(shell command -v $${CC:-gcc} 2>/dev/null),-race,$(if $(CI),-race,))

# vet and build for the systems that the tests do not run on.
SYSTEMS := linux/arm64 windows/amd64 darwin/arm64

.PHONY: build test unit fixtures tools suites soak check format vet systems static fuzz fuzz-wire clean

build:
	$(GO) build -o bin/perch ./cmd/perch

test: unit suites

unit:
	$(GO) test $(RACE) -timeout 5m ./...
	$(GO) test -run 'Alloc' ./internal/serve ./internal/site ./internal/handler/forward # exact only without the race detector

# A minute of everything at once, against a program with the race detector.
soak: fixtures
	$(GO) -C test test -count=1 -timeout 5m -run '^TestSoak$$' ./soak

# The real applications that the suites run against: .NET from the SDK, Node from npm, Go.
fixtures:
	test/tools/fixtures.sh $(CACHE)

# What test/limits attacks with, and the browser of test/tls.
tools:
	bench/tools/install.sh $(CACHE)/tools slowhttptest chromium-headless-shell certutil || [ -z "$(CI)" ]

# Tests of the suites mostly wait, so more of them than processors run at once.
# Their results are never taken from the cache: it does not know the binary.
suites: fixtures tools
	$(GO) -C test test -count=1 -timeout 10m -parallel 6 -skip '^(TestAttacks|TestSoak)$$' ./...
	$(GO) -C test test -count=1 -timeout 5m -run '^TestAttacks$$' ./limits # alone: it takes the whole machine

check: format vet systems static

format:
	@bad=$$(git ls-files -co --exclude-standard -- '*.go' | xargs -r gofmt -l); \
	if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi

vet:
	$(GO) vet ./...
	$(GO) -C test vet ./...

systems:
	@set -e; for s in $(SYSTEMS); do \
	  echo "vet and build for $$s"; \
	  GOOS=$${s%/*} GOARCH=$${s#*/} $(GO) vet ./...; \
	  GOOS=$${s%/*} GOARCH=$${s#*/} $(GO) build ./...; \
	done

static:
	$(GO) -C tools build -o $(CACHE)/bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	$(CACHE)/bin/staticcheck ./...
	cd test && $(CACHE)/bin/staticcheck ./...

# Half a minute for every fuzz target, one after another.
fuzz:
	@set -e; for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' internal hosting 2>/dev/null); do \
	  for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' $$f); do \
	    echo "$$name in $$(dirname $$f)"; \
	    GO=$(GO) test/tools/fuzz.sh ./$$(dirname $$f) $$name; \
	  done; \
	done

# The parsers of what comes from the network, the same time for each, two at once: what CI does.
fuzz-wire:
	printf '%s\n' FuzzRequest FuzzResponse FuzzChunked FuzzTarget FuzzRequestAgainstNetHTTP | \
	  GO=$(GO) xargs -P 2 -I '{}' test/tools/fuzz.sh ./internal/http1 '{}'

clean:
	rm -rf $(CACHE) bin

# Perch beside nginx, HAProxy, Caddy and the Go library's reverse proxy, on Linux: see docs/performance.md. The figures
# go to bench/results/, those of some cases or servers alone to .cache/bench/results/. QUICK=1 shows within a minute or
# two that it runs; BENCH="-cases small-64 -rounds 9" says more.
bench:
	bench/tools/install.sh $(CACHE)/bench
	$(GO) -C bench build -o $(CACHE)/bench/bin/bench .
	$(CACHE)/bench/bin/bench $(if $(QUICK),-quick -results $(CACHE)/bench/results) $(BENCH)

# The bench is a module of its own.
bench-unit:
	$(GO) -C bench test $(RACE) -timeout 1m ./...

bench-vet: static
	$(GO) -C bench vet ./...
	cd bench && $(CACHE)/bin/staticcheck ./...

unit: bench-unit
check: bench-vet

.PHONY: bench bench-unit bench-vet
