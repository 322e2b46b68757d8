# Everything runs from a virtual environment in .venv, made from hashed lock files.
# `make demo` and `make test` are the two commands; both do all the set-up they need.
# Another Python than scripts/setup.sh would choose, for a new .venv: make PYTHON=python3.12
PYTHON ?=
BIN := .venv/bin
# A private place for .venv's own tools; the guest image is cached for the user by codecage itself.
READY := .venv/.ready

.PHONY: setup demo demo-bookkeeper demo-codeact demo-data demo-network examples images test fuzz mutants check release-api bench bench-short docs lock generate clean

setup: $(READY)
	@$(BIN)/codecage image build

$(READY): requirements/dev.txt pyproject.toml
	@PYTHON='$(PYTHON)' sh scripts/setup.sh

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

# An agent's unbalanced posting, what bean-check says of it, the correction, and who was quicker.
demo-bookkeeper: setup
	@$(BIN)/codecage image build native-books
	@$(BIN)/python examples/demo_bookkeeper.py

# A tutor of six pupils, a reader of one host, tools of an MCP server; no model is asked.
examples: setup
	@for name in tutor research tools_mcp; do \
		$(BIN)/python examples/$$name.py --scripted || exit 1; done

test: setup
	@$(BIN)/python tests/lanes.py

# The shipped images that can be built from the package registries alone; each is kept. The tests
# need them, and have them built beside those that do not.
images: setup
	@for name in math web python313 data native-data native-books; do $(BIN)/codecage image build $$name || exit 1; done

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@cd proto && ../$(BIN)/buf breaking --against released/codecage.v1.binpb

# At a release: what clients may count on from then on. `make check` holds later work to it.
release-api: $(READY)
	@cd proto && ../$(BIN)/buf build --as-file-descriptor-set --exclude-source-info \
		-o released/codecage.v1.binpb

# Everything beside its floor and its peers; KIT=DIR adds M3ToolEval,
# RECORDED=FILE recorded runs. benchmarks/README.md
bench: images
	-@$(BIN)/codecage bench peers
	@$(BIN)/codecage bench $(if $(KIT),--kit $(KIT)) $(if $(RECORDED),--recorded $(RECORDED))

# A minute or two of it, of the images without packages and without peers: what CI shows.
bench-short: setup
	@$(BIN)/codecage bench --short --no-plots --out build/bench/short

# Writes the expected texts of the tests (policy errors, explanations, audit tables) anew.
docs: $(READY)
	@$(BIN)/codecage image imports > docs/wasm-syscalls.md
	@CODECAGE_REWRITE=1 $(BIN)/python -m pytest -q tests/policy tests/executor/audit

# Hostile input for a minute each; the tests run them for seconds.
fuzz: setup
	@for name in http imports policy; do $(BIN)/python tests/fuzz/fuzz_$$name.py --seconds 60 || exit 1; done

# Would the policy's tests notice a changed rule? All mutants take a quarter of an hour;
# a sample (SAMPLE=700) takes minutes, and says how far the whole may be from it.
mutants: $(READY)
	@$(BIN)/python tests/mutation/mutate.py $(if $(SAMPLE),--sample $(SAMPLE))

generate: $(READY)
	@$(BIN)/python proto/generate.py

lock: $(READY)
	@sh scripts/lock.sh

clean:
	@rm -rf .venv build dist *.egg-info
