# leastcap: build and test. "make help" lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build bin/leastcap install demo test race test-kernels bench truth bench-truth generate lint setup clean

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# The embedded runtime is made with cgo, and confines system calls with libseccomp.
# Where there is no C compiler, or no libseccomp, leastcap is built without them and
# says so when a container is to be run. All that is built and tested is built with Go's own
# resolver and user database: the program is static, and what is compiled with cgo and
# without it is the same then, so that it is compiled once.
CGO = $(shell [ "$$(go env GOOS)" = linux ] && command -v "$$(go env CC)" >/dev/null && echo 1 || echo 0)
TAGS = netgo osusergo $(shell [ -e /usr/include/seccomp.h ] && echo seccomp)
STATIC = $(if $(filter 1,$(CGO)),-linkmode external -extldflags -static)
# More arguments for go test, such as -run, -v or -json.
TESTFLAGS ?=
# The packages that are tested.
PKGS ?= ./...
IMAGES := leastcap-test/services leastcap-test/tiny

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/leastcap ## build bin/leastcap, and bin/leastcap-verifier beside it
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/leastcap-verifier ./cmd/leastcap-verifier

bin/leastcap:
	CGO_ENABLED=$(CGO) go build -trimpath -buildvcs=false -tags '$(TAGS)' -ldflags '$(LDFLAGS) $(STATIC)' -o bin/leastcap ./cmd/leastcap

PREFIX ?= /usr/local
# The manual and the completions are made by what is installed, and so are its own.
install: build ## install leastcap, its manual and completions (PREFIX, DESTDIR)
	install -D -m 755 bin/leastcap $(DESTDIR)$(PREFIX)/bin/leastcap
	install -D -m 755 bin/leastcap-verifier $(DESTDIR)$(PREFIX)/libexec/leastcap/leastcap-verifier
	bin/leastcap man --dir $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	bin/leastcap completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/leastcap
	bin/leastcap completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_leastcap
	bin/leastcap completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/leastcap.fish

setup: ## install what the tests need (Debian, root), start Docker, build the test images
	@scripts/setup.sh
	@scripts/docker-up.sh
	@scripts/test-image.sh $(IMAGES)

demo: ## learn what a small service needs, on the embedded runtime (Go and root are enough)
	@scripts/setup.sh build
	@$(MAKE) --no-print-directory bin/leastcap
	CGO_ENABLED=0 go build -trimpath -o bin/demo/root/service ./scripts/demo
	@bin/demo/root/service image bin/demo/root
	bin/leastcap learn --rootfs bin/demo/root --check 'bin/demo/root/service check http://$$LEASTCAP_IP/' -- /service

# Everything is compiled first, in parallel. The packages are then tested one at a
# time (-p 1): their containers and probes share one kernel and one engine, and
# a busy neighbour would make a service look dead.
test: setup ## run all tests; nothing may be skipped
	go list -export -test -tags '$(TAGS)' $(PKGS) >/dev/null
	LEASTCAP_TEST=1 go test -tags '$(TAGS)' -count=1 -p 1 -timeout 25m $(TESTFLAGS) $(PKGS)
	$(if $(filter ./...,$(PKGS)),LEASTCAP_TEST=1 go test -C caps/catalog/engines -tags '$(TAGS)' -count=1 $(TESTFLAGS) ./...)

# All but what runs other programs than its own: guests, and the built leastcap. RACE names
# the packages.
RACE ?= $(shell go list -tags '$(TAGS)' ./... | grep -v -e /internal/kerneltest$$ -e /bench/truth$$)
race: setup ## run the tests with the race detector
	LEASTCAP_TEST=1 CGO_ENABLED=1 go test -race -tags '$(TAGS)' -count=1 -p 1 -timeout 60m $(TESTFLAGS) $(RACE)

# Everything under each of Debian's kernels, in QEMU; "make test" has a short form.
test-kernels: setup ## run the probe's and the runtimes' tests under other kernels, write docs/kernels.md
	LEASTCAP_TEST=1 go test -tags '$(TAGS)' -count=1 -timeout 180m ./internal/kerneltest -kernels all \
	  -results $(CURDIR)/bin/kernels -table $(CURDIR)/docs/kernels.md $(TESTFLAGS)

bench: setup ## run the benchmarks
	go test -tags '$(TAGS)' -run '^$$' -bench . -benchmem -p 1 -timeout 30m $(TESTFLAGS) $(PKGS)
	@if [ -x scripts/bench.sh ]; then scripts/bench.sh; fi
	@scripts/bench-watch.sh
	@scripts/bench-top.sh
	@scripts/bench-cost.sh docs/cost.md

truth: setup ## find afresh what the bench's workloads really need (about half an hour)
	go run ./scripts/truth oracle

bench-truth: setup build ## learn the bench's workloads twice, compare, write docs/accuracy.md
	go run ./scripts/truth bench -leastcap bin/leastcap -rounds 2 -markdown docs/accuracy.md

generate: ## write the generated files anew (clang of Debian 12)
	go generate ./...

lint: ## format, vet, staticcheck, shellcheck, generated files, import fences
	@files=$$(git ls-files --cached --others --exclude-standard '*.go' | grep -v /testdata/ | xargs -r gofmt -l); \
	  if [ -n "$$files" ]; then echo "not formatted (gofmt -w):" $$files >&2; exit 1; fi
	go vet -tags '$(TAGS)' ./...
	go vet -C caps/catalog/engines -tags '$(TAGS)' ./...
	go run -tags '$(TAGS)' $(STATICCHECK) -tags '$(TAGS)' ./...
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi
	scripts/generated.sh
	go test -count=1 ./internal/fences

clean: ## remove what the build made
	rm -rf bin
