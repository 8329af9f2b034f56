# make run     serve the admin on http://127.0.0.1:8000, with a demo organisation on the first run
# make test    the whole suite: SQLite and PostgreSQL side by side, pages in a real browser
# make example a documented plan on a public trace of real traffic, and its answer
# make check   style, types, migrations, deployment settings
# make bench   what the README's figures come from
# make campaign PART=name   the long searches for faults, of which the suite runs a share
# make screenshots   the pictures of the README, of a fresh demo

.PHONY: run example test test-engine test-rest test-browser test-sqlite test-postgres check bench campaign screenshots wheel clean
.DEFAULT_GOAL := help

# What one of the many processes of the tests compiled, the others need not, whatever the shell says otherwise.
export PYTHONDONTWRITEBYTECODE :=

UV := $(or $(shell command -v uv),.tools/bin/uv)
PY := .venv/bin/python

help:
	@sed -n 's/^# //p' Makefile

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install -q --disable-pip-version-check uv==0.13.8

.venv/synced: pyproject.toml uv.lock .python-version | $(UV)
	$(UV) sync -q --locked --compile-bytecode
	@touch $@

.env:
	@(umask 077; $(PY) -c 'import secrets; s = secrets.token_urlsafe; \
	print(f"DEBUG=true\nSECRET_KEY={s(50)}\nAPI_KEY_PEPPERS=1={s(32)}")' > $@)

run: .venv/synced
	@test -e .env || $(MAKE) -s .env
	@exec $(PY) manage.py serve

# Another trace: make example TRACE=file.csv
TRACE := ../shared/data/azure-llm-2023-conv.csv
example: .venv/synced
	@test -f "$(TRACE)" || { printf '%s\n' "There is no $(TRACE). The example needs the conversations of Microsoft's Azure LLM inference" \
	"trace 2023 (CC-BY 4.0), AzureLLMInferenceTrace_conv.csv. Download it from" \
	"https://github.com/Azure/AzurePublicDataset/blob/master/AzureLLMInferenceDataset2023.md" \
	"and say where it is: make example TRACE=AzureLLMInferenceTrace_conv.csv" >&2; exit 1; }
	@test -e .env || $(MAKE) -s .env
	@$(PY) manage.py replay "$(TRACE)" --model gpt-4o --routes plans/examples/short-requests.json

# Five at a time also on two cores: much of a test is waiting.
test: .venv/synced
	@$(MAKE) -s -j5 --output-sync=target test-browser test-postgres test-sqlite test-engine test-rest

test-engine: .venv/synced
	@echo "== Engine"
	@TEST_DATABASE=none $(PY) -m pytest -q tests/routes/engine $(ARGS)

test-rest: .venv/synced
	@echo "== Other pure rooms, processes"
	@TEST_DATABASE=none $(PY) -m pytest -q --ignore=tests/routes/engine $(ARGS)

test-browser: .venv/synced
	@echo "== Browser"
	@TEST_DATABASE=browser $(PY) -m pytest -q tests/browser $(ARGS)

test-sqlite: .venv/synced
	@echo "== SQLite"
	@TEST_DATABASE=sqlite $(PY) -m pytest -q $(ARGS)

test-postgres: .venv/synced
	@echo "== PostgreSQL"
	@TEST_DATABASE=postgres $(PY) -m pytest -q $(ARGS)

check: .venv/synced
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PY) -m tests.deployment

bench: .venv/synced
	@$(PY) -m tests.bench $(ARGS)

campaign: .venv/synced
	@$(PY) -m tests.campaign $(PART) $(ARGS)

screenshots: .venv/synced
	@$(PY) -m tests.screenshots

wheel: .venv/synced
	$(UV) build --wheel -q --out-dir dist

clean:
	rm -rf .venv .tools dist .mypy_cache .ruff_cache .pytest_cache
