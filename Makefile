# Everything that is done with a checkout. `make` alone tells what there is.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
LISTEN ?= 127.0.0.1:9517
PYTEST ?= -n 2 --dist loadscope

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: run
run: .venv/stamp ## Start the gateway on this machine's Docker and run the sample app on it
	@$(BIN)/python -m scripts.run --listen $(LISTEN)

.PHONY: clean-sample
clean-sample: .venv/stamp ## Remove the sample app that `make run` has deployed
	@$(BIN)/python -m scripts.run --listen $(LISTEN) --remove

.PHONY: test
test: .venv/stamp ## Run all tests, against real components (PYTEST="..." for options of your own)
	scripts/packages dockerd:docker.io iptables:iptables ip:iproute2 :busybox-static \
		docker-registry:docker-registry etcd:etcd-server || true
	scripts/kubernetes >/dev/null || true
	$(BIN)/python -m pytest $(PYTEST)

.PHONY: bench
bench: .venv/stamp ## Measure how quick it is, next to the same without it (BENCH="reads --quick" for a part)
	scripts/packages dockerd:docker.io iptables:iptables ip:iproute2 :busybox-static etcd:etcd-server wrk:wrk \
		kubectl:kubernetes-client || true
	scripts/kubernetes >/dev/null || true
	$(BIN)/python -m benchmarks $(BENCH)

.PHONY: soak
soak: .venv/stamp ## Kill gateways on real engines at random moments and at every change (ZUN_TEST_KILLS=100 ZUN_TEST_SEED=1)
	ZUN_TEST_KILLS=$${ZUN_TEST_KILLS:-100} $(BIN)/python -m pytest -n 2 tests/crash/test_sigkill.py \
		tests/crash/test_docker_killed.py

.PHONY: lint
lint: .venv/stamp ## Check style, types and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --package zun_coe --package scripts --package benchmarks
	$(BIN)/lint-imports

.PHONY: format
format: .venv/stamp ## Put the style in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: .venv/stamp ## Write the reference in docs/ anew
	$(BIN)/python -m scripts.docs

.PHONY: venv
venv: .venv/stamp ## Make the virtual environment

.venv/stamp: requirements.txt setup.cfg pyproject.toml
	@scripts/venv "$(PYTHON)"
	@touch $@

.PHONY: lock
lock: ## Pin the newest packages that setup.cfg allows, in requirements.txt
	scripts/lock "$(PYTHON)"

.PHONY: clean
clean: ## Remove what was made here, except the state of `make run` (.run)
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
