# Everything works on a fresh clone with make and Python 3.10 or newer; each target makes what it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Processes that tests run in: one more than processors, as tests also wait for programs and disks.
JOBS ?= $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
PYTEST_ARGS ?=
# Where `make run` keeps mail and accounts.
DATA ?= mailkit-data
# Interpreters that `make test-all` looks for.
PYTHONS ?= python3.10 python3.11 python3.12 python3.13
# Programs, by their Debian packages, that the tests in tests/interop talk to when they are there.
INTEROP_PACKAGES := swaks libnet-ssleay-perl curl mutt isync fetchmail msmtp lftp node-nodemailer postfix telnet haproxy \
  dovecot-imapd dovecot-lmtpd dovecot-pop3d dovecot-submissiond neomutt offlineimap3 imapfilter opendkim postsrsd rspamd \
  spamass-milter spamc postgresql slapd libpam-pwdfile mpop getmail6 gsasl libsasl2-modules unbound ldnsutils sslscan \
  krb5-kdc krb5-admin-server krb5-user python3-gssapi thunderbird

# Of imapflow, a client for Node.js: one that npm installs with all that it needs.
IMAPFLOW := 1.0.188

.DEFAULT_GOAL := help
.PHONY: help run test test-random test-all interop interop-packages lint format types docs bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment: mailkit from this directory, and what the target needs besides. A stamp for each
# extra, so that `make run` does not wait for the test tools.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "mailkit needs Python 3.10 or newer; name one with: make PYTHON=/path/to/python" >&2; \
	  exit 1; }
	@# Half an environment (Debian without python3-venv) would be taken for a whole one next time.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-%: setup.cfg pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[$*]'
	@touch $@ $(VENV)/.installed

run: $(VENV)/.installed  ## start a mail server for trying out, on this machine only
	@$(BIN)/python -m mailkit.tap "$(DATA)"

test: $(VENV)/.installed-test  ## run all tests, in a fixed order
	$(PYTEST) -p no:randomly $(PYTEST_ARGS) tests

test-random: $(VENV)/.installed-test  ## run all tests in a random order
	$(PYTEST) $(PYTEST_ARGS) tests

test-all:  ## run all tests under each Python 3.10 to 3.13 that is installed
	@found=; failed=; \
	for python in $(PYTHONS); do \
	  $$python -c '' 2>/dev/null || { echo "$$python is not installed: left out"; continue; }; \
	  found=1; echo "== $$python"; \
	  $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$python || failed="$$failed $$python"; \
	done; \
	[ -n "$$found" ] || { echo "none of $(PYTHONS) is installed" >&2; exit 1; }; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

interop: interop-packages $(VENV)/.installed-test  ## test with other people's mail programs (installs Debian packages)
	$(PYTEST) -p no:randomly $(PYTEST_ARGS) tests/interop

interop-packages:
	@missing=; for package in $(INTEROP_PACKAGES); do \
	  dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || \
	    missing="$$missing $$package"; done; \
	[ -n "$$missing" ] || exit 0; \
	command -v apt-get >/dev/null || { \
	  echo "no apt-get here: tests that need$$missing are skipped"; exit 0; }; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	{ $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -q -y \
	  --no-install-recommends $$missing; } >/dev/null || \
	  echo "could not install$$missing: tests that need them are skipped"
	@[ -d .interop/node_modules/imapflow ] || ! command -v npm >/dev/null || \
	  npm install --silent --no-audit --no-fund --ignore-scripts --prefix .interop \
	    imapflow@$(IMAPFLOW) >/dev/null 2>&1 || \
	  echo "could not install imapflow: tests that need it are skipped"
	@# fail2ban is unpacked, as installing it would start it.
	@[ ! -x .interop/usr/bin/fail2ban-regex ] && command -v apt-get >/dev/null || exit 0; \
	{ mkdir -p .interop && cd .interop && apt-get download -q fail2ban && \
	  dpkg -x fail2ban_*.deb . && rm fail2ban_*.deb; } >/dev/null 2>&1 || \
	  echo "could not unpack fail2ban: tests that need it are skipped"
	@# So is ClamAV, which would also load its database from elsewhere.
	@[ ! -x .interop/usr/sbin/clamd ] && command -v apt-get >/dev/null || exit 0; \
	{ mkdir -p .interop/clamav && cd .interop/clamav && \
	  apt-get download -q clamav-daemon clamav-milter libclamav12 libmspack0 && \
	  for each in *.deb; do dpkg -x $$each ..; done; cd .. && rm -r clamav && \
	  [ -x usr/sbin/clamav-milter ]; } >/dev/null 2>&1 || \
	  echo "could not unpack clamav-daemon and clamav-milter: tests that need them are skipped"
	@# Exim cannot be installed beside Postfix, so it is unpacked; it does not start without its user.
	@[ ! -x .interop/usr/sbin/exim4 ] && command -v apt-get >/dev/null || exit 0; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	{ mkdir -p .interop && cd .interop && apt-get download -q exim4-daemon-light && \
	  dpkg -x exim4-daemon-light_*.deb . && rm exim4-daemon-light_*.deb && \
	  { id Debian-exim || $$sudo useradd --system --no-create-home Debian-exim; }; } >/dev/null 2>&1 || \
	  echo "could not unpack exim4-daemon-light: tests that need it are skipped"

lint: $(VENV)/.installed-dev  ## look for mistakes and for formatting that ruff would change
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## let ruff format everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev  ## check the type annotations
	$(BIN)/mypy

docs: $(VENV)/.installed-dev  ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.installed-bench  ## measure mailkit beside other Python mail servers
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

clean:  ## remove environments, caches and what was built; mailkit-data is kept
	rm -rf .venv .venv-* .interop build dist *.egg-info docs/_build _trial_temp* .hypothesis
	rm -rf .mypy_cache .ruff_cache .pytest_cache twisted/plugins/dropin.cache twistd.pid twistd.log
	find mailkit tests twisted examples docs benchmarks -name __pycache__ -type d -prune \
	  -exec rm -rf {} + 2>/dev/null || true
