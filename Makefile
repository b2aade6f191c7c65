# wharf.registry: `make up` and `make test` are the two commands; `make` alone lists all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# Ansible refuses a locale that is not UTF-8, and a bare Debian has none.
export LC_ALL := C.UTF-8
# The Python that makes .venv; scripts/venv chooses one where it is empty.
export PYTHON ?=
# A pipe must not hide how far a long play has come.
export PYTHONUNBUFFERED := 1

BIN := $(CURDIR)/.venv/bin
# ansible-lint, molecule and ansible-test call the commands beside them by name.
TOOLS := PATH="$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/.venv"
# A line a step, unless the environment says otherwise; V=1 shows every task. The tests read what the default callback says.
SHOWN := $(if $(V),ansible.builtin.default,$(or $(ANSIBLE_STDOUT_CALLBACK),wharf.registry.steps))
# The environment wins over the file in a directory that others can write to, which Ansible would pass over.
PLAY := ANSIBLE_CONFIG="$(CURDIR)/ansible.cfg" ANSIBLE_STDOUT_CALLBACK=$(SHOWN) "$(BIN)/ansible-playbook" -i inventories/local

.PHONY: help up down deps deps-dev test test-long engine lint unit page docs docs-site artefact sanity sanity-all integration integration-client integration-server attacks guides bare-site quickstart quickstart-whole long matrix molecule default fleet whole-fleet day-two cluster kills instances images bench clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

up: deps ## Bring up the local registry at https://localhost:5000, or bring it up to date (V=1 shows every task)
	@ask=$$(scripts/ask-become); $(PLAY) $$ask playbooks/site.yml

down: deps ## Remove what `make up` made; asks before it deletes data (DATA=delete or DATA=keep answers)
	@ask=$$(scripts/ask-become); data=$$(scripts/ask-data "$(DATA)"); \
	$(PLAY) $$ask playbooks/teardown.yml -e "registry_teardown_data=$$data"

deps: ## Make .venv with what the plays need
	@scripts/venv

deps-dev:
	@scripts/venv dev

# Behind a colon stands what a part needs; behind @ the tenths of the machine that it takes. The long ones wait much, so that
# three of them fit beside each other. They stand in this order so that the last three end as close to each other as they can.
test: deps-dev ## Prove the project: all of the parts below, those without hosts first
	@"$(BIN)/python" scripts/parts lint images docs artefact unit sanity \
	  integration-server@3:images default@3:images integration-client@3:images fleet@3:images quickstart@3:images page@3:images

# The attacks have the machine to themselves.
test-long: deps-dev ## Prove what needs a quiet machine, and repeat what more time makes surer: attacks, kills, other Pythons and Ansibles
	@"$(BIN)/python" scripts/parts images attacks:images kills:attacks long:attacks day-two:attacks cluster:attacks whole-fleet:attacks instances:attacks guides:attacks bare-site:attacks sanity-all:attacks quickstart-whole:attacks matrix:attacks

lint: deps-dev ## Check style: ansible-lint (production), yamllint, ruff, changelog, forbidden names
	@$(TOOLS) scripts/lint

unit: deps-dev ## Run the unit tests
# They wait more than they compute: two for a processor.
	@$(TOOLS) pytest --numprocesses $$((2 * $$(nproc))) --dist worksteal tests/unit

page: deps-dev ## Look at the page in a real Chromium: each view, its data, hostile text, speed, accessibility
	@tests/page/install-chromium
	@$(TOOLS) pytest tests/page

docs: deps-dev ## Check that every role and plugin has documentation that ansible-doc can show
	@$(TOOLS) ANSIBLE_CONFIG="$(CURDIR)/ansible.cfg" tests/docs

docs-site: ## Build the documentation site; the last line is the page to open
	@scripts/docs-site

artefact: deps-dev ## Build the collection, check what it ships, install it and read its playbooks
	@$(TOOLS) tests/artefact

sanity: deps-dev ## Run ansible-test sanity on what ships, with no ignores, but for what lint checks
	@$(TOOLS) tests/sanity

sanity-all: deps-dev ## Run all of it on all files, with all Pythons that are here
	@$(TOOLS) tests/sanity all

engine: deps
	@tests/engine start

integration: deps-dev ## Run the modules, the proxy and the programs against real registries, clients and engines
	@$(TOOLS) pytest tests/integration

integration-client integration-server: deps-dev
	@$(TOOLS) pytest tests/integration/$(@:integration-%=%)

attacks: deps-dev ## Attack the proxy beside legitimate clients, who must not notice
	@$(TOOLS) pytest tests/attacks

guides: images ## Do what the guides on mirrors, bundles, the gate and pipelines say, on hosts of the lab
	@$(TOOLS) pytest tests/guides

quickstart: deps-dev ## Run `make up` and `make down` on a bare machine of the lab
	@$(TOOLS) tests/lab/quickstart

quickstart-whole: deps-dev ## Run `make up` there twice more: it changes nothing, and finds the data that `make down` has kept
	@$(TOOLS) WHOLE=1 tests/lab/quickstart

bare-site: images ## Make a registry of a host without a network, by what a bundle holds
	@$(TOOLS) tests/lab/bare-site

molecule: default fleet day-two ## Run the molecule scenarios `default`, `fleet` and `day_two` on machines of the lab

default: ## One registry host: access, TLS, secrets, load (molecule scenario `default`)
fleet: ## Clients of all kinds: rollout, doctor, rotation, offboarding (`fleet`)
day-two: ## Backup and restore onto another host (`day_two`); not a part of `make test`
cluster: ## Three registry hosts on object storage, and the deaths of all their parts (`cluster`); not a part of `make test`
whole-fleet: deps-dev ## `fleet` with the tests that are marked `long`; not a part of `make test`
	@$(TOOLS) PYTEST_ADDOPTS="$${PYTEST_ADDOPTS-} -m ''" scripts/scenario fleet

default fleet day-two cluster: deps-dev
	@$(TOOLS) scripts/scenario $(subst -,_,$@)

long: deps-dev ## Ask the clients what the tables of tests/verdicts say of them, repeat other tests, and try each property with all examples
	@tests/page/install-chromium
# One suite after another: files of two of them may have the same name, which one run of pytest does not take.
	@for suite in integration page unit; do $(TOOLS) WHARF_EXAMPLES=100 pytest -m "long or hypothesis" "tests/$$suite"; done

kills: deps-dev ## Kill logins, registries, collectors and parts of a cluster a hundred times, and playbooks forty times in half an hour of load
	@$(TOOLS) WHARF_KILLS=100 pytest -m "" tests/integration -k kill
	@$(TOOLS) PYTEST_ADDOPTS="$${PYTEST_ADDOPTS-} -m ''" WHARF_KILLS=40 WHARF_LAYER_MIB=1024 scripts/scenario default
	@$(TOOLS) PYTEST_ADDOPTS="$${PYTEST_ADDOPTS-} -m ''" WHARF_KILLS=100 scripts/scenario cluster

matrix: images ## Run with ansible-core 2.17 to 2.21: unit tests, --check and a real site.yml on a host of the lab (MATRIX="2.17 2.21")
	@tests/matrix

# What the parts after it share, so that none of them builds it while another one does.
images: deps-dev
	@$(TOOLS) tests/lab/build-image $$(tests/lab/build-image --list | grep -vxE 'tools|rollout|buildkit|sid-docker|trixie-storage') >/dev/null
	@$(TOOLS) ANSIBLE_CONFIG="$(CURDIR)/ansible.cfg" ansible-playbook -i tests/lab/inventory tests/lab/images.yml

instances: deps-dev ## Run two registries on one host of the lab; not a part of `make test`
	@$(TOOLS) scripts/scenario instances

bench: deps ## Compare with crane, skopeo and wrk, and with the usual modules on a fleet, as ratios in one run
	@status=0; for part in run rollout; do $(TOOLS) tests/bench/$$part || { status=$$?; [ $$status -eq 1 ] || break; }; done; exit $$status

clean: ## Remove .venv and the caches; the registry stays
	rm -rf .venv .cache .ansible
