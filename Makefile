# Each target installs the tools it needs into .venvs, once.
AWS := .venvs/aws/bin/python

.PHONY: demo test lint build deploy stop measure

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
