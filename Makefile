# make demo | make test | make check | make bench | make studies: each sets up what it needs on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup demo test test-cluster check bench studies format clean

setup: $(VENV)/.ready

# torch first and pinned: a range would let another package pull in a newer, much larger build.
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rewarm needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: setup
	$(BIN)/rewarm demo

# A process for each core, up to four; tests of a file stay together, since they share what the file makes once.
test: setup
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py tests/test_house_style.py

# Ray lies in an environment of its own on top of the first: it is an extra, and nothing else needs it.
$(VENV)-cluster/.ready: $(VENV)/.ready requirements-cluster.lock
	$(BIN)/python -m venv $(VENV)-cluster
	printf 'import site; site.addsitedir("%s")\n' \
	  "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" > \
	  "$$($(VENV)-cluster/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rewarm.pth"
	$(VENV)-cluster/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-cluster.lock
	@touch $@

test-cluster: $(VENV)-cluster/.ready
	$(VENV)-cluster/bin/python -m pytest tests/engines

# The peers lie in an environment of their own on top of the first, so that nothing they need changes how rewarm starts.
$(VENV)-bench/.ready: $(VENV)/.ready requirements-bench.lock
	$(BIN)/python -m venv $(VENV)-bench
	printf 'import site; site.addsitedir("%s")\n' \
	  "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" > \
	  "$$($(VENV)-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rewarm.pth"
	$(VENV)-bench/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-bench.lock
	@touch $@

bench: $(VENV)-bench/.ready
	$(VENV)-bench/bin/python benchmarks/all.py --bare-python $(BIN)/python

# The small form of every study; studies that need real text find it as docs/studies.md says, or are left out.
studies: setup
	$(BIN)/python studies/all.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-cluster .mypy_cache .ruff_cache .pytest_cache
