# Two commands: `make conformance` runs the main job, `make test` the harness's own tests.
# ARGS="..." is handed on to pytest:  make conformance ARGS="--runtime=all -n 2"

VENV := .venv
BIN := $(VENV)/bin
ARGS :=
# The wheels of one resolved set are installed once; a change of pyproject.toml installs again.
INSTALLED := $(VENV)/.installed-$(shell sha256sum pyproject.toml | cut -c1-12)

.PHONY: setup conformance test test-all matrix mutants bench coverage clean box vms test-vms bench-vms

setup: $(INSTALLED)

conformance: $(INSTALLED)
	@sh vms/host/install.sh run
	$(BIN)/pytest suites/ --runtime=crun-wasmedge $(ARGS)

# Every path of the sandbox in one report, a line for each on the terminal.
matrix: $(INSTALLED)
	@sh vms/host/install.sh run
	$(BIN)/pytest suites/ --runtime=all -n 2 $(ARGS)

test: $(INSTALLED)
	@sh vms/host/install.sh test
	@$(BIN)/conformance build
	$(BIN)/pytest tests/unit tests/endtoend tests/faults tests/mutants $(ARGS)

# Also what needs a component that takes long to build (docs/components.md).
test-all: export TEST_ALL = 1
test-all: test mutants

mutants: $(INSTALLED)
	@sh vms/host/install.sh run
	$(BIN)/python tests/mutants/run.py $(ARGS)

bench: $(INSTALLED)
	@sh vms/host/install.sh run
	$(BIN)/python tests/bench/bench.py $(ARGS)

# The Vagrant box; a machine made of it; the tests that boot machines. See docs/vms.md.
box: $(INSTALLED)
	@sh vms/host/install.sh vms
	@$(BIN)/conformance box

vms: box
	vagrant up low-level

test-vms: box
	$(BIN)/pytest tests/vms $(ARGS)

bench-vms: box
	$(BIN)/python tests/bench/vms.py $(ARGS)

coverage: $(INSTALLED)
	$(BIN)/conformance coverage --write docs/coverage.md

$(INSTALLED): pyproject.toml
	@sh vms/host/install.sh run
	@echo "setup: installing Python packages into $(VENV)"
	@python3 -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

clean:
	rm -rf $(VENV) reports/out
