# gygate: what can be done, `make help` lists it.
GO      ?= go
BIN     := bin/gygate
DATA    ?= .gygate
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/gygate
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/gygate

.PHONY: run
run: build ## start everything with sample data, place a prepaid VPN call, keep serving (Ctrl-C stops)
	@$(BIN) serve --quickstart --data $(DATA)

.PHONY: demo
demo: build ## the scripted cases alone, in a data folder of their own
	@$(BIN) demo

.PHONY: test
test: ## all tests with the race detector; finds or starts a private PostgreSQL
	@deploy/ensure.sh postgres
	$(GO) test -race -shuffle=on -timeout 15m ./...

.PHONY: check
check: ## formatting, vet, staticcheck, shell scripts
	@test -z "$$(gofmt -l cmd diameter ocs vpnlogic sql deploy)" || { gofmt -l cmd diameter ocs vpnlogic sql deploy; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@for f in deploy/*.sh .ci/run; do bash -n $$f || exit 1; done

.PHONY: bench
bench: build ## all that is measured, in one table beside its limit; SHORT=1: five minutes, LONG=1: with a run of ten
	@deploy/ensure.sh postgres
	@$(GO) run ./deploy/bench -bin $(BIN) $(if $(SHORT),-short) $(if $(LONG),-long 10m)

.PHONY: calls
calls: build ## hold 20,000 charged SIP calls at a time: what one costs, and whether the books match; about two minutes
	@deploy/ensure.sh postgres
	@$(GO) run ./deploy/bench/calls -bin $(BIN)

.PHONY: bench-baseline
bench-baseline: ## keep what the packages' benchmarks measure now as what `make bench` compares with
	@$(GO) run ./deploy/bench -baseline

SUT ?= gygate
.PHONY: conformance
conformance: ## prove every row and write diameter/CONFORMANCE.md; SUT=stock: the suite must fail go-diameter's server
	@deploy/ensure.sh postgres
	@$(GO) run ./deploy/conformance -sut $(SUT)

.PHONY: fuzz
fuzz: ## each fuzz target for 20 seconds
	@for t in $$(grep -rhoE '^func Fuzz[A-Za-z0-9]+' --include=*_test.go diameter vpnlogic | awk '{print $$2}'); do \
	  p=$$(dirname $$(grep -rlE "^func $$t\(" --include=*_test.go diameter vpnlogic | head -1)); \
	  echo "$$p $$t"; $(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzztime 20s ./$$p || exit 1; done

.PHONY: interop-sipp
interop-sipp: build ## 200 calls of 5 s at 20/s between Debian's sipp caller and callee, books to the cent
	@deploy/ensure.sh postgres sipp
	@$(GO) run ./deploy/interop/sipp -bin $(BIN)

.PHONY: interop-otp
interop-otp: build ## Erlang/OTP diameter as a strict client over TCP and TLS, tshark as the judge
	@deploy/ensure.sh postgres otp tshark
	@$(GO) run ./deploy/interop/otp -bin $(BIN)

.PHONY: interop-relay
interop-relay: build ## freeDiameter as a relay, plain and TLS, before two OCS nodes, one killed in mid-session
	@deploy/ensure.sh postgres freediameter tshark
	@$(GO) run ./deploy/interop/relay -bin $(BIN)

.PHONY: crash
crash: ## kill -9 at ten points of a call, restart, compare the books
	@deploy/ensure.sh postgres
	@mkdir -p bin
	$(GO) build -trimpath -tags crashpoint -o bin/gygate-crashpoint ./cmd/gygate
	@$(GO) run ./deploy/interop/crash -bin bin/gygate-crashpoint

.PHONY: clean-data
clean-data: ## delete the data of `make run`
	rm -rf $(DATA)

.PHONY: clean
clean: ## delete what was built
	rm -rf bin deploy/interop/otp/.build
