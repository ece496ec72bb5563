# Fieldpost. `make run` shows it, `make test` proves it; the rest is for those who
# change it. Everything is built from the Go module proxy and Debian's packages.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(PATH):/usr/sbin:/sbin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PKGS    ?= ./...

# How long each fuzz target runs; the whole stays within 10 minutes.
FUZZTIME ?= 20s
# SHORT=1 makes `make bench` fit a CI run.
SHORT ?=
# Pinned: the newest staticcheck that knows Go 1.26.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Static, the same from any directory (no paths, no build id).
BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false \
	-ldflags '-s -w -buildid= -X main.version=$(VERSION)'

.PHONY: help run build cross deb apt setup test test-race test-board test-deb e2e fuzz bench prove lint clean

help: ## says what there is
	@awk -F': .*## ' '/^[a-z0-9-]+:.* ## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

run: build ## builds and runs the demo: a simulated board, the page, a stand-in broker
	bin/fieldpost demo

build: ## bin/fieldpost for this machine
	$(BUILD) -o bin/fieldpost ./cmd/fieldpost

# GOARM=6 runs on every 32-bit Pi; a GOARM=7 binary dies on a Pi Zero.
cross: setup ## static binaries for arm64, arm (GOARM=6) and amd64, each run once
	GOOS=linux GOARCH=amd64 $(BUILD) -o bin/fieldpost-linux-amd64 ./cmd/fieldpost
	GOOS=linux GOARCH=arm64 $(BUILD) -o bin/fieldpost-linux-arm64 ./cmd/fieldpost
	GOOS=linux GOARCH=arm GOARM=6 $(BUILD) -o bin/fieldpost-linux-armv6 ./cmd/fieldpost
	@for f in bin/fieldpost-linux-*; do \
		if readelf -l $$f 2>/dev/null | grep -q INTERP; then echo "$$f is not static" >&2; exit 1; fi; \
	done
	qemu-aarch64-static bin/fieldpost-linux-arm64 version
	qemu-arm-static -cpu arm1176 bin/fieldpost-linux-armv6 version
	@ls -l bin/

deb: ## the Debian packages for arm64, armhf (any 32-bit Pi) and amd64, in dist/
	packaging/deb/build

apt: setup ## an apt repository of the packages in dist/, in dist/apt (APT_KEY=who signs, APT_URL=where it will be)
	@packaging/apt/build

setup: ## installs what the tests need from Debian, once, and says what
	@.ci/setup

test: setup ## installs what it needs, then vets and tests everything
	go vet $(PKGS)
	go -C packaging/deb test ./...
	@mkdir -p bin
	PROVE_REPORT=$(CURDIR)/bin/end-to-end.txt timeout --foreground 900 go test -timeout 14m $(PKGS)
	@cat bin/end-to-end.txt 2>/dev/null || true

test-race: setup ## the packages under the race detector
	timeout --foreground 1200 go test -race -short -timeout 18m $(PKGS)

test-board: ## the lines of a real kernel, in an emulated arm64 board (QEMU, gpio-sim)
	packaging/board/test

test-deb: ## the package under systemd: in a container, and in the emulated board
	packaging/deb/test
	packaging/board/test-deb

e2e: setup ## the end-to-end runs alone, with what they print
	timeout --foreground 900 go test -count=1 -timeout 14m -v -run EndToEnd ./cmd/fieldpost-prove

fuzz: ## every fuzz target for FUZZTIME each, 10 minutes in all
	.ci/fuzz $(FUZZTIME)

bench: setup build ## the numbers beside the peers', measured in one run (SHORT=1 for a quick one)
	go run ./cmd/fieldpost-prove bench -fieldpost bin/fieldpost $(if $(SHORT),-short)

prove: setup build ## every fault, and what each lost: up to 90 minutes (SAMPLE=1 for 15, SEED=n to repeat)
	go build -o bin/fieldpost-prove ./cmd/fieldpost-prove
	bin/fieldpost-prove prove -fieldpost bin/fieldpost $(if $(SAMPLE),-sample) $(if $(SEED),-seed $(SEED)) $(if $(ONLY),-only $(ONLY))

lint: ## gofmt, vet, staticcheck, the house rules, the import test
	STATICCHECK=$(STATICCHECK) .ci/lint

clean: ## removes what was built
	rm -rf bin dist
