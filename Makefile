# Each target installs the tools it needs into .venvs, once.
AWS := .venvs/aws/bin/python

.PHONY: demo test lint build deploy stop measure bench bench-small

demo: ; @python3 local/tools.py sam aws && exec $(AWS) local/demo.py

test:
	@python3 local/tools.py sam aws
	cargo test --workspace --locked
	@$(AWS) local/e2e.py

lint: ; @python3 local/tools.py sam lint && .venvs/lint/bin/python local/lint.py

# ARCH=x86_64 for another processor than arm64. cargo-lambda would add a missing Rust target unasked: tools.py says so first.
ARCH ?= arm64
build: ; @python3 local/tools.py --target=$(ARCH) sam && PATH="$(CURDIR)/.venvs/sam/bin:$$PATH" SAM_CLI_TELEMETRY=0 sam build --parameter-overrides Architecture=$(ARCH)

deploy: build ; @PATH="$(CURDIR)/.venvs/sam/bin:$$PATH" SAM_CLI_TELEMETRY=0 sam deploy --guided

stop: ; @python3 local/endpoints.py stop

# The bars too large for CI; figures in benches/README.md.
measure: ; cargo test --release --locked -p longhaul --test it -- --ignored --nocapture full_measure

# The bars of the copy engine, against the peers that registries have; BENCH="--rows gib-16,link --rounds 3" chooses.
# Each package is built alone: what is measured has no feature that only the servers need.
S3SYNC := 1.62.4
bench:
	@python3 local/tools.py bench
	@test -x target/peers/bin/s3sync || nice cargo install --quiet --locked s3sync --version $(S3SYNC) --root target/peers || echo "s3sync cannot be installed: its rows say so" >&2
	cargo build --release --locked -p longhaul
	cargo build --release --locked -p longhaul-bench
	@python3 benches/bench.py --profile release $(BENCH)

# A hundredth of it, for CI: bytes and requests, no timings, no peers. Built as for `make test`, so that nothing is built twice.
bench-small:
	cargo test --workspace --locked --no-run --quiet
	@python3 benches/bench.py --small --profile debug
