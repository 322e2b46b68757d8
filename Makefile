# Everything runs from a virtual environment in .venv, made from hashed lock files.
# `make demo` and `make test` are the two commands; both do all the set-up they need.
PYTHON ?= python3
BIN := .venv/bin
# A private place for .venv's own tools; the guest image is cached for the user by codecage itself.
READY := .venv/.ready

.PHONY: setup demo demo-codeact demo-data demo-network images test fuzz check bench docs lock generate clean

setup: $(READY)
	@$(BIN)/codecage image build

$(READY): requirements/dev.txt pyproject.toml
	@PYTHON=$(PYTHON) sh scripts/setup.sh

demo: setup
	@$(BIN)/codecage image build native-data
	@$(BIN)/python examples/demo.py
	@$(BIN)/python examples/demo_codeact.py

# The walkthrough of the CodeAct paper alone: pandas and a chart, in native Python in a box.
demo-codeact: $(READY)
	@$(BIN)/codecage image build native-data
	@$(BIN)/python examples/demo_codeact.py

# The data stack: its image takes a minute or two to build, once.
demo-data: $(READY)
	@$(BIN)/codecage image build data
	@$(BIN)/python examples/demo_data.py

# An agent calls an API on this machine: rules for requests, and a secret that it never sees.
demo-network: setup
	@$(BIN)/python examples/demo_network.py

test: images
	@$(BIN)/python -m pytest -q

# The shipped images that can be built from the package registries alone; each is kept.
images: setup
	@for name in math web python313 data native-data; do $(BIN)/codecage image build $$name || exit 1; done

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup
	@$(BIN)/python benchmarks/run.py

# Writes the expected texts of the tests (policy errors, explanations, audit tables) anew.
docs: $(READY)
	@$(BIN)/codecage image imports > docs/wasm-syscalls.md
	@CODECAGE_REWRITE=1 $(BIN)/python -m pytest -q tests/policy tests/executor/audit

# Hostile input for a minute each; the tests run them for seconds.
fuzz: setup
	@for name in http imports policy; do $(BIN)/python tests/fuzz/fuzz_$$name.py --seconds 60 || exit 1; done

generate: $(READY)
	@$(BIN)/python proto/generate.py

lock: $(READY)
	@sh scripts/lock.sh

clean:
	@rm -rf .venv build dist *.egg-info
