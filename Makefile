# The one door: `make help` lists what is behind it. demo and test need Python >= 3.11, a C and a
# C++ compiler and make; everything else comes from the package registry into .venv.

VENV := .venv
PY := $(VENV)/bin/python
BUILD := build
# Many tests wait for the kernel. A file stays with one process, for what it builds at its start; which
# file comes when, tests/lab/order.py says.
IN_PARALLEL := -n 4 --dist loadfile --no-loadscope-reorder

C_SOURCES := $(wildcard helper/*.c helper/*.h native/*.c native/*.h native/*/*.c)
C_WARNINGS := -std=c11 -Wall -Wextra -Werror -Wconversion -Wshadow -Wswitch-enum -Wvla \
	-Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wundef

.DELETE_ON_ERROR:
.PHONY: demo test check bench fuzz docs clean help lint types c-gcc c-clang budget again

help:
	@echo 'make demo   an unprivileged process pings and sniffs, in a network of its own'
	@echo 'make test   the tests (arguments to pytest: make test ARGS="-k ping")'
	@echo 'make check  lint, types, C warnings and analysis, budgets'
	@echo 'make bench  figures against plain Python and plain C, as ratios (ONLY=descriptors: a part)'
	@echo 'make fuzz   hostile bytes for the parsers, one minute (SECONDS=60)'
	@echo 'make docs   reference pages in $(BUILD)/docs'
	@echo 'make clean  removes what make has made, .venv included'

demo: $(VENV)/.demo
	@$(PY) demo

test: $(VENV)/.test
	$(VENV)/bin/pytest $(IN_PARALLEL) $(ARGS)

bench: $(VENV)/.test $(VENV)/.bench-libpcap
	PYTHONPATH=demo:tests $(PY) -m benchmarks $(ONLY)

# The environment has a stamp in .venv for each set of packages.

# A name of the command line is not enough: it can be a shim with nothing behind it or no Python at
# all, and Debian ships an interpreter without venv and without headers.
define PROBE
import importlib.util, os, sys, sysconfig
header = os.path.join(sysconfig.get_path("include"), "Python.h")
package = "python{}.{}".format(*sys.version_info)
if sys.version_info < (3, 11):
    sys.exit("older than 3.11")
if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
    sys.exit("has no venv (on Debian: apt install %s-venv)" % package)
if not os.path.exists(header):
    sys.exit("has no header %s (on Debian: apt install %s-dev)" % (header, package))
print("suitable")
endef
export PROBE

make_environment = for python in $(or $(PYTHON),python3 python3.15 python3.14 python3.13 python3.12 python3.11); \
	do \
	  if ! command -v "$$python" >/dev/null; then \
	    $(if $(PYTHON),echo "$$python: there is no such program" >&2;) continue; \
	  fi; \
	  answer=$$("$$python" -c "$$PROBE" 2>&1 | head -n 1); \
	  if test "$$answer" = suitable; then \
	    echo "Making $(VENV) with $$python"; \
	    rm -rf $(VENV); "$$python" -m venv $(VENV); exit; \
	  fi; \
	  echo "$$python: $${answer:-no Python}" >&2; \
	done; \
	echo 'No suitable Python: 3.11 or newer, or name one: make PYTHON=/path/to/python3' >&2; exit 1

need_compiler = for compiler in $$CC cc gcc clang; do \
	  command -v $$compiler >/dev/null && exit; \
	done; \
	echo 'No C compiler: cc, gcc and clang are missing (on Debian: apt install gcc)' >&2; exit 1

# Whatever was killed while it made the environment may have left it without pip, and whoever removed
# an interpreter without Python: it is made anew then.
$(VENV)/.pip: $(if $(wildcard $(PY)),,again)
	@$(need_compiler)
	@$(PY) -m pip --version >/dev/null 2>&1 || { $(make_environment); }
	@# Dependency groups came with pip 25.1.
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

# Editable: Python sources are used as they stand; only C and metadata need this rule again.
$(VENV)/.package: $(VENV)/.pip pyproject.toml CMakeLists.txt $(C_SOURCES)
	@$(need_compiler)
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.demo $(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: $(VENV)/.package pyproject.toml
	$(PY) -m pip install --quiet --group $*
	@touch $@

# One of the peers is compiled here, and needs the headers of libpcap.
$(VENV)/.bench-libpcap: $(VENV)/.bench
	@$(PY) -m pip install --quiet --group bench-libpcap || \
	  echo 'pypcap is left out: it does not build without libpcap (on Debian: apt install libpcap-dev)'
	@touch $@

# There is none for every Python; capture files are fuzzed by damage alone then.
$(VENV)/.fuzz: $(VENV)/.test
	@$(PY) -m pip install --quiet --group fuzz || echo 'atheris is left out: it does not install here'
	@touch $@

check: lint types c-gcc c-clang budget

lint: $(VENV)/.lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

types: $(VENV)/.lint $(VENV)/.test
	$(VENV)/bin/mypy
	$(VENV)/bin/stubtest aioprocket._system._native aioprocket.policy._decision

PYTHON_INCLUDE = $(shell $(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))')
compile_c = for source in helper/*.c; do \
	    $(1) $(C_WARNINGS) -D_GNU_SOURCE -O2 -c -o /dev/null $$source || exit 1; done; \
	for source in native/*.c native/*/*.c; do \
	    $(1) $(C_WARNINGS) -isystem $(PYTHON_INCLUDE) -DPy_LIMITED_API=0x030b0000 -fPIC -O2 \
	        -c -o /dev/null $$source || exit 1; done

CLANG_ANALYZES := --analyze -Xclang -analyzer-output=text -Xclang -analyzer-werror

c-gcc: $(VENV)/.pip
	@echo 'C: gcc, warnings and -fanalyzer'
	@$(call compile_c,gcc -fanalyzer)

c-clang: $(VENV)/.pip
	@if command -v clang >/dev/null; then \
	  echo 'C: clang, warnings'; $(call compile_c,clang); \
	  echo 'C: clang, static analyzer'; $(call compile_c,clang $(CLANG_ANALYZES)); \
	else \
	  echo 'C: clang is not installed: left out'; \
	  case ",$$AIOPROCKET_MUST_TEST," in *,all,*|*,clang,*) exit 1;; esac; \
	fi

# What runs with privilege stays small, and links with nothing but libc.
budget: $(VENV)/.package
	@# Lines of code: a budget on comments would be paid in comments.
	@sed 's/#.*//; /^ *$$/d' helper/BUDGET | { while read -r part most files; do \
	  lines=$$(cd helper && cat $$files | gcc -fpreprocessed -dD -E -P - 2>/dev/null | grep -c .); \
	  echo "helper, $$part: $$lines lines of code of $$most"; \
	  test $$lines -le $$most || failed=yes; \
	done; test -z "$$failed"; }
	@linked=$$(readelf -d "$$($(PY) -m aioprocket.helper)" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'); \
	echo "helper links: $${linked:-nothing, it is static}"; test -z "$${linked#libc.so.6}"

SECONDS ?= 60

fuzz: $(VENV)/.test $(VENV)/.fuzz
	PYTHONPATH=tests $(PY) -m fuzz --seconds $(SECONDS)

DOCUMENTED := aioprocket aioprocket.errors aioprocket.spec aioprocket.bpf aioprocket.pcapng aioprocket.wire \
	$(patsubst aioprocket/wire/%.py,aioprocket.wire.%,$(wildcard aioprocket/wire/[a-z]*.py))

docs: $(VENV)/.demo
	@mkdir -p $(BUILD)/docs
	cd $(BUILD)/docs && $(CURDIR)/$(PY) -m pydoc -w $(DOCUMENTED)

clean:
	rm -rf $(VENV) $(BUILD) dist .mypy_cache .ruff_cache .hypothesis .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
