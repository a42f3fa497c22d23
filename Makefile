# make demo | make test | make check | make bench | make studies | make peers | make docs: each sets up what it needs on a
# fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: setup demo test test-cluster check bench studies peers docs format clean

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

# Ray, what benchmarks measure beside rewarm, and the tools of the site each lie in an environment of their own on top of
# the first, so that nothing they need changes how rewarm starts.
$(VENV)-cluster/.ready $(VENV)-bench/.ready $(VENV)-docs/.ready: $(VENV)-%/.ready: $(VENV)/.ready requirements-%.lock
	$(BIN)/python -m venv $(VENV)-$*
	printf 'import site; site.addsitedir("%s")\n' \
	  "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" > \
	  "$$($(VENV)-$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rewarm.pth"
	$(VENV)-$*/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-$*.lock
	@touch $@

test-cluster: $(VENV)-cluster/.ready
	$(VENV)-cluster/bin/python -m pytest tests/engines

bench: $(VENV)-bench/.ready
	$(VENV)-bench/bin/python benchmarks/all.py --bare-python $(BIN)/python

# The small form of every study; studies that need real text find it as docs/studies.md says, or are left out.
studies: setup
	$(BIN)/python studies/all.py

# Peers that pin other releases than rewarm's have environments of their own, apart from the first. The compiled part of
# torchaudio wants CUDA's libraries; text needs none of it, and LLaMA-Factory starts without.
$(VENV)-peers/%/.ready: requirements-peers-%.lock
	$(PYTHON) -m venv $(VENV)-peers/$*
	$(VENV)-peers/$*/bin/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' $<)"
	$(VENV)-peers/$*/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	rm -rf $(VENV)-peers/$*/lib/python3.*/site-packages/torchaudio/lib
	@touch $@

peers: $(VENV)/.ready $(VENV)-peers/llamafactory/.ready $(VENV)-peers/axolotl/.ready
	$(BIN)/python benchmarks/peers.py

# The site in site/, which opens from disk.
docs: $(VENV)-docs/.ready
	$(VENV)-docs/bin/python -m mkdocs build --strict

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-cluster $(VENV)-peers $(VENV)-docs site .mypy_cache .ruff_cache .pytest_cache
