# What a developer types. Everything that is needed is made by the targets themselves.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv/bin
CLUSTER_NAME ?= wft
RUNTIME ?= cpu
OUTPUT ?= pvc
PARTS ?=
EXPERIMENTS ?=
SEED ?= 1
RUNS ?= 2000
MINUTES ?= 10
FUZZ_SECONDS ?= 600
FUZZ_SEED ?= 0
GOLDEN_TESTS := tests/operator/test_pod_additions.py tests/operator/test_workload.py tests/operator/test_status.py tests/operator/test_chart.py tests/trainer/test_report_page.py

.PHONY: help demo test test-unit test-prometheus test-kueue test-oldest chaos fuzz check verify figures generate golden cluster-up cluster-down images bench bench-trainer bench-operator bench-scale bench-trust lock environment

help: ## Show this help.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: environment ## From nothing to a word error rate: local cluster, operator, a fine-tune, a table (RUNTIME=ipu-emulated: on emulated IPUs; OUTPUT=s3: from bucket to bucket).
	$(VENV)/python local/demo run --runtime $(RUNTIME) --output $(OUTPUT)

test: environment ## All tests: units, the real API server, real pods, real speech (PARTS="units apiserver": some of them).
	@$(VENV)/python tests/parts.py $(PARTS)

test-unit: environment ## The quick tests: no cluster, no browser, no training. Under a minute.
	@$(VENV)/python tests/parts.py quick-1 quick-2

test-prometheus: environment ## Alerts and dashboard by a real Prometheus, compiled first (5 minutes). `make test` skips that where it is not there.
	WITH_PROMETHEUS=1 $(VENV)/python -m pytest tests/operator/test_monitoring.py tests/operator/test_prometheus_apiserver.py

test-oldest: environment ## The tests of the real API server on the oldest Kubernetes that the chart takes, compiled first (6 minutes).
	KUBERNETES=oldest $(VENV)/python tests/parts.py apiserver

chaos: environment ## Ten minutes of faults over 2,000 runs, in the order of SEED=1: none may suffer (RUNS=2000, MINUTES=10).
	$(VENV)/python tests/chaos --seed $(SEED) --runs $(RUNS) --minutes $(MINUTES)

test-kueue: environment ## The operator with a real Kueue, compiled first (7 minutes). `make test` skips that where it is not there.
	WITH_KUEUE=1 $(VENV)/python -m pytest tests/operator/test_kueue_apiserver.py

fuzz: environment ## Look for input that a reader trips over, FUZZ_SECONDS=600 for each reader, beginning with FUZZ_SEED=0.
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) $(VENV)/python -m pytest tests/fuzz

check: generate ## Linters, types and layers, on work in progress too: under a minute.
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	PYTHONPATH=crds:operator:trainer $(VENV)/lint-imports
	$(VENV)/yamllint --strict .
	$(VENV)/shellcheck $$(git ls-files '*.sh' .ci/run)

verify: check figures ## For continuous integration, on a clean checkout: check, and that what is generated is committed.
	git diff --exit-code

figures: environment ## Print the figures of the code, and fail where one is worse than figures/figure_bounds.py allows.
	$(VENV)/python figures

generate: environment ## Write the CRD, the chart's copy of it and the docs' tables from the types.
	PYTHONPATH=crds:operator:trainer $(VENV)/python docs/generate
	PYTHONPATH=crds:operator $(VENV)/python charts/generate.py

golden: environment ## Write tests/golden anew: read what changed, then commit it.
	RENEW_GOLDEN=1 $(VENV)/python -m pytest -q -k golden $(GOLDEN_TESTS)

cluster-up: ## Start the local Kubernetes (CLUSTER_NAME=wft) and load the images into it.
	$(PYTHON) local/cluster up --name $(CLUSTER_NAME)

cluster-down: ## End the local Kubernetes.
	$(PYTHON) local/cluster down --name $(CLUSTER_NAME)

images: ## Build the operator's and the trainer's images for the local cluster.
	$(PYTHON) local/images build all

bench: bench-operator bench-trainer ## Measure both sides.

bench-operator: environment ## From creation to Job, beside a bare client and JobSet: a table of times, processor and memory.
	$(VENV)/python bench/burst

bench-scale: environment ## What the operator costs by the number of runs: one event, and 10,000 runs on simulated nodes (half an hour).
	$(VENV)/python bench/scale events
	$(VENV)/python bench/scale burst

bench-trainer: environment ## Clips per second against the plain transformers recipe, with both word error rates.
	$(VENV)/python bench/trainer.py

bench-trust: environment ## What verdict, gate, mixing and packing are worth on real speech (an hour; EXPERIMENTS="shuffled sane": these runs).
	$(VENV)/python bench/trust $(if $(EXPERIMENTS),--only $(EXPERIMENTS))

lock: ## Write requirements/*.txt anew from pyproject.toml.
	sh requirements/lock.sh

environment: ## Make .venv (and .venv38 where a Python 3.8 is at hand).
	@sh tests/environment.sh
