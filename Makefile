# leastcap: build and test. "make help" lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build demo test bench truth bench-truth generate lint setup clean

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# More arguments for go test, such as -run, -v or -json.
TESTFLAGS ?=
# The packages that are tested.
PKGS ?= ./...
IMAGES := leastcap-test/services leastcap-test/tiny

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/leastcap
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/leastcap ./cmd/leastcap

setup: ## install what the tests need (Debian, root), start Docker, build the test images
	@scripts/setup.sh
	@scripts/docker-up.sh
	@scripts/test-image.sh $(IMAGES)

demo: setup build ## learn what nginx needs
	bin/leastcap learn --check 'curl -fsS http://$$LEASTCAP_IP/' -- \
	  docker run leastcap-test/services nginx -g 'daemon off;'

# Everything is built first, in parallel. The packages are then tested one at a
# time (-p 1): their containers and probes share one kernel and one engine, and
# a busy neighbour would make a service look dead.
test: setup ## run all tests; nothing may be skipped
	go build ./...
	LEASTCAP_TEST=1 go test -count=1 -p 1 -timeout 15m $(TESTFLAGS) $(PKGS)

bench: setup ## run the benchmarks
	go test -run '^$$' -bench . -benchmem -p 1 -timeout 30m $(TESTFLAGS) $(PKGS)
	@if [ -x scripts/bench.sh ]; then scripts/bench.sh; fi

truth: setup ## find afresh what the bench's workloads really need (about half an hour)
	go run ./scripts/truth oracle

bench-truth: setup build ## learn the bench's workloads twice, compare, write docs/accuracy.md
	go run ./scripts/truth bench -leastcap bin/leastcap -rounds 2 -markdown docs/accuracy.md

generate: ## write the generated files anew (clang of Debian 12)
	go generate ./...

lint: ## format, vet, staticcheck, shellcheck, generated files, import fences
	@files=$$(git ls-files --cached --others --exclude-standard '*.go' | grep -v /testdata/ | xargs -r gofmt -l); \
	  if [ -n "$$files" ]; then echo "not formatted (gofmt -w):" $$files >&2; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi
	scripts/generated.sh
	go test -count=1 ./internal/fences

clean: ## remove what the build made
	rm -rf bin
