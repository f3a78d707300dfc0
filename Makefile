# Each target installs the tools it needs into .venvs, once.
AWS := .venvs/aws/bin/python

.PHONY: demo test lint build deploy stop measure bench bench-small bench-scan simulate mutants operate backfill-full cold-start

demo: ; @python3 local/tools.py sam aws && exec $(AWS) local/demo.py

test:
	@python3 local/tools.py sam aws
	cargo test --workspace --locked
	@$(AWS) local/e2e.py

lint: ; @python3 local/tools.py sam lint && .venvs/lint/bin/python local/lint.py

# ARCH=x86_64 for another processor than arm64. cargo-lambda would add a missing Rust target unasked: tools.py says so first.
# Functions are built to be small, which Lambda loads sooner; what is hot in them stays fast by Cargo.toml.
ARCH ?= arm64
build: export CARGO_PROFILE_RELEASE_LTO ?= fat
build: export CARGO_PROFILE_RELEASE_OPT_LEVEL ?= s
build: ; @python3 local/tools.py --target=$(ARCH) sam && PATH="$(CURDIR)/.venvs/sam/bin:$$PATH" SAM_CLI_TELEMETRY=0 sam build --parameter-overrides Architecture=$(ARCH)

# SAM_ENV=china for the environment of samconfig.toml that says so.
SAM_ENV ?= default
deploy: build ; @PATH="$(CURDIR)/.venvs/sam/bin:$$PATH" SAM_CLI_TELEMETRY=0 sam deploy --guided --config-env $(SAM_ENV)

# Size of each function, and the time from its start to its first poll.
cold-start: ; @python3 local/coldstart.py

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
	@python3 benches/scan.py --small --profile debug

# The bar of the scan: ten million keys a side.
bench-scan:
	cargo build --release --locked -p longhaul-bench
	@python3 benches/scan.py

# Seeded disasters; a failing seed prints how to replay it. CI runs 300.
simulate:
	cargo test --workspace --locked --no-run --quiet
	@target/debug/simulate --seeds $(or $(SEEDS),300) --jobs 2

# Plants faults in a copy of the product one by one, and looks whether the simulation finds them.
mutants: ; python3 local/mutants.py

# Of the end-to-end tests, a redeployment under a running execution, and work without each of the functions' permissions.
operate:
	@python3 local/tools.py sam aws
	@$(AWS) local/e2e.py a_deployment_changes_under_a_running_execution_and_is_removed without_any_action_nothing_arrives

# The bar of backfills on the local AWS: 20,000 small objects and 5 large ones. CI runs 300 of them.
backfill-full:
	@python3 local/tools.py sam aws
	cargo build --locked -p longhaul
	@LONGHAUL_BACKFILL_OBJECTS=20000 $(AWS) local/e2e.py a_bucket_is_brought_up_to_date what_the_source_lacks_is_deleted_within_bounds a_failed_object_fails_the_run_and_is_named a_side_that_cannot_be_used_stops_the_run_at_once
