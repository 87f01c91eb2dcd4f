# Every target does its own set-up. What each one does is in scripts/, one small file per job.
.DEFAULT_GOAL := help
.PHONY: help setup run build release test e2e bench lint fmt docs image client fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## check the tools, create .venv, install the Node test packages
	@scripts/setup.sh

run: ## build and start a gateway with a demo model on 127.0.0.1:4000 (FAST=1: debug build)
	@scripts/run.sh

build: ## the fully static release binary
	@scripts/static-build.sh

release: ## the binary that is shipped: the same, laid out by a profile (three times the build time)
	@scripts/release-build.sh

test: ## everything: Rust tests, SDK tests against the built binary, image test
	@scripts/test.sh

e2e: ## only the SDK tests (ARGS="-k anthropic" goes to pytest)
	@scripts/e2e.sh $(ARGS)

bench: ## side by side with nginx on this machine; writes docs/benchmarks.md
	@scripts/bench.sh $(ARGS)

lint: ## format check, clippy, dependency rules
	@scripts/lint.sh

fmt: ## format the Rust code
	@cargo fmt --all

docs: ## regenerate the generated pages; build the book when mdbook is there
	@scripts/docs.sh

image: ## container image, or its root filesystem tested with chroot when there is no engine
	@scripts/image.sh

client: ## generate and compile the TypeScript client of the management API
	@scripts/client.sh

fuzz: ## run each fuzz target for SECONDS_PER_TARGET (default 60)
	@scripts/fuzz.sh
