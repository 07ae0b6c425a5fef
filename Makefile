# `make demo` and `make test` do all the set-up. Without make, the README has the lines they run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One of the two faiss packages: the GPU's where there is an NVIDIA driver.
EXTRA ?= $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)

export PATH := $(CURDIR)/$(BIN):$(PATH)
# Processes are parallel, threads are not: two threads on a busy core are slower than one.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive

.PHONY: demo ablation search gpu test lint types unit kills fuzz cluster web site site-check install clean

demo: install
	dvc repro
	@ser show
	@git diff --quiet -- dvc.lock results/metrics.json results/provenance.json || echo \
	  "This machine's results differ from the committed ones in dvc.lock or results/" \
	  "(another CPU rounds differently): commit dvc.lock and results to make them your baseline."

# GMP-ATL's Tables 3 and 4 on the corpora of params.yaml: two losses, eight layers, with and without
# pseudo-labels, all folds. Nine experiments; what they share is computed once.
ABLATION := -S 'folds=[0,1]' -S 'adapted=[0,1]' -S 'methods.cached=[]' \
  -S 'methods.pretrained=[full]' -S 'methods.retrained=[full]' -S 'networks.features=[]'

ablation: install
	dvc exp run --queue $(ABLATION) -S finetune.loss.name=ce
	dvc exp run --queue $(ABLATION) -S finetune.loss.name=am-softmax -S 'frames.layer=range(-8,0)'
	dvc exp run --run-all
	ser ablation

# Hyper-parameters of a classifier by their score on dev: docs/search.md.
SEARCH ?= emotion/fbank/linear -S finetune.methods.linear.pooling=mean,mean-std \
  -S finetune.methods.linear.kind=logistic,svm --trials 4

search: install
	ser search $(SEARCH)

# Recordings are found below FOLDER; docs/gpu.md then shows what the card reached.
FOLDER ?= data/raw
BUDGET ?= 420

gpu: install
	python -m benchmarks.gpu $(FOLDER) --budget $(BUDGET)
	python -m benchmarks.gpu_table

test: lint types unit

lint: install
	ruff check .
	ruff format --check .
	codespell

types: install
	mypy

# Each process takes half of the tests, in order, and then from the other's.
unit: install
	pytest -n 2 --dist worksteal

# The long runs of tests/faults: every stage killed at each of its writes, and what it then leaves
# damaged in sixty places; a thousand signals and a hundred killed workers; 10,000 mutated inputs.
kills: install
	pytest -n 2 --long tests/faults/test_kills.py tests/faults/test_scratch.py \
	  tests/faults/test_shared_scratch.py tests/work/test_pool.py

fuzz: install
	pytest -n 2 --long tests/faults/test_fuzz.py

# Several nodes on this machine: killed, late and cut off. One at a time, since each wants all cores:
# 22 minutes on two.
cluster: install
	pytest --cluster -m cluster

# The page in a real browser, and the service under hostile uploads, slow clients, kills and load, of
# which `make test` takes a smoke each: four minutes.
web: install
	pytest -n 2 --web $(wildcard tests/inference/service tests/inference/page)

# The pages of docs/ and what is made from the code, with a search: open site/index.html.
site: install
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

# Every command of README and docs that needs no data and no net, page by page, in clones of what is
# committed, with the demo's outputs: two minutes after `make demo`.
site-check: install
	python -m tests.site

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13, name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[$(EXTRA),dev]'
	@touch $@

clean:
	rm -rf $(VENV) .scratch artifacts data/raw/demo results/plots
