# Two commands are enough: `make run` shows the demo line, `make test` checks everything.
# TORCH=cpu takes PyTorch's own CPU build (1.1 GB instead of 4.8 GB); the default is the registry's, which serves GPUs too.

PYTHON ?= python3
ARGS ?=
TEST_WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
UV += $(if $(TORCH),--torch-backend=$(TORCH))

.PHONY: run test format bench kafka clean
.DELETE_ON_ERROR:

run: $(VENV)/.product
	@$(BIN)/clearline demo $(ARGS)

test: $(VENV)/.test
	@sh tests/servers/packages.sh
	@echo "== format and lint"; $(BIN)/ruff format --check . && $(BIN)/ruff check .
	@echo "== types"; $(BIN)/mypy
	@echo "== import rules"; $(BIN)/lint-imports
	@echo "== tests"; $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(ARGS)

format: $(VENV)/.test
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(VENV)/.test
	@$(BIN)/clearline bench $(ARGS)

# A real Kafka broker in the foreground; needs java and, the first time, mvn. ARGS="--secure --port 9192" and more.
kafka:
	@$(PYTHON) deploy/kafka/broker.py $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info runs

$(BIN)/uv:
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Clearline needs Python 3.11 or newer: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 has no venv module: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.product: pyproject.toml constraints.txt | $(BIN)/uv
	@echo "== installing Clearline (PyTorch is large: a minute or two the first time)"
	@$(UV) --editable .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/uv
	@echo "== installing Clearline with what its tests need"
	@$(UV) --editable ".[test]"
	@touch $@ $(VENV)/.product
