# Everything a person types. Each target makes .venv by itself; nothing is installed outside this folder.
PYTHON ?= python3
BIN := .venv/bin
TYPESCRIPT := tests/acceptance/clients/typescript
CYCLES ?= 0
FAULTS ?=
QUICK ?=
ROWS ?=
.DEFAULT_GOAL := help
.PHONY: help run demo analytics test clients dashboard test-faults test-soak lint types format bench audit sbom lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.installed ## collect from the live providers until Ctrl+C
	@$(BIN)/python main.py run

demo: .venv/.installed-analytics ## the same against the simulator, no network needed (CYCLES=3 ends by itself, FAULTS=storm for bad weather)
	@$(BIN)/python main.py demo --cycles $(CYCLES) $(if $(FAULTS),--faults $(FAULTS))

analytics: .venv/.installed-analytics ## install what portfolios and backtest reports need on top

test: .venv/.installed-dev ## the default test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

clients: $(TYPESCRIPT)/node_modules/.package-lock.json ## install the packages of the TypeScript client that `make test` runs (needs node and npm)

dashboard: dashboard/node_modules/.package-lock.json ## check the dashboard and build it into collector/api/static/app (needs node and npm)
	cd dashboard && npm run lint && npm test && npm run build

test-faults: .venv/.installed-dev ## attacks: provider faults, kills, a cut database, 20 000 mutated answers (minutes)
	$(BIN)/python -m pytest -m faults -n 2 --dist loadfile -q

test-soak: .venv/.installed-dev ## a day of cycles in minutes, memory flat; then the default suite with new random examples
	$(BIN)/python -m pytest -m soak -q
	$(BIN)/python -m pytest -n 2 --dist loadfile -q --hypothesis-profile=search

lint: .venv/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev ## mypy, strict
	$(BIN)/mypy

format: .venv/.installed-dev ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.installed-dev ## measure us and the peers into benchmarks/RESULTS.md (QUICK=1: small, keeps nothing; ROWS="upsert books")
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ROWS)

audit: .venv/.installed-dev ## known vulnerabilities of the pinned packages (asks the advisory service: needs a network)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.txt -r requirements-analytics.txt

sbom: .venv/.installed-dev ## write sbom.json: every installed package, CycloneDX 1.6 (no network)
	$(BIN)/cyclonedx-py environment --spec-version 1.6 --output-format JSON --output-reproducible -o sbom.json $(BIN)/python

lock: .venv/.installed-dev ## compile requirements*.in to pinned, hashed requirements*.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -q -o requirements.txt requirements.in
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -q -o requirements-analytics.txt requirements-analytics.in
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -q -o requirements-dev.txt requirements-dev.in
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -q -o benchmarks/requirements-peers.txt benchmarks/requirements-peers.in

clean: ## remove .venv and caches; stored data and logs stay
	rm -rf .venv .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned requirements into .venv (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/.installed-analytics: .venv/.installed requirements-analytics.txt
	@echo "installing the packages of portfolios and backtest reports into .venv (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-analytics.txt
	@touch $@

.venv/.installed-dev: .venv/.installed-analytics requirements-dev.txt
	@echo "installing the test tools into .venv (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

dashboard/node_modules/.package-lock.json: dashboard/package-lock.json
	cd dashboard && npm ci --no-audit --no-fund

$(TYPESCRIPT)/node_modules/.package-lock.json: $(TYPESCRIPT)/package-lock.json
	cd $(TYPESCRIPT) && npm ci --ignore-scripts --no-audit --no-fund
