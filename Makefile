# SPDX-License-Identifier: MIT
#
# The daily commands. Meson does the work; this file only names it.
#
#   make            build build/llem
#   make try        install what is missing, build, measure the sample model, print the result
#   make check      build with sanitizers in build-check, run every test of the core
#   make install    PREFIX=~/.local (DESTDIR is honoured); make uninstall removes it again
#   make check-engines  the engines with Python packages, for real, in environments that it makes
#   make check-package  the wheel and the source archive, installed and used in environments that it makes
#   make style      formatting, include directions, banned functions, wording
#   make bench      our figures beside the rivals', in the same run
#   make campaign   the long tests: fuzzing, every failing allocation, a fresh Debian
#
# NO_INSTALL=1 prints the packages that are missing and installs nothing.

PREFIX ?= /usr/local
BUILD ?= build
CHECK ?= build-check
MESON ?= meson

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	$(MESON) setup $(BUILD) -Dtests=false

$(CHECK)/build.ninja:
	$(MESON) setup $(CHECK) -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=true

try:
	@tools/bootstrap run build
	@$(MAKE) --no-print-directory all
	$(BUILD)/llem run examples/quickstart.yaml --quick -o $(BUILD)/results

check:
	@tools/bootstrap run build test
	@$(MAKE) --no-print-directory $(CHECK)/build.ninja
	ninja -C $(CHECK)
	@tools/run-tests $(CHECK)

check-engines:
	@tools/bootstrap run build test
	@$(MAKE) --no-print-directory $(CHECK)/build.ninja
	ninja -C $(CHECK)
	@tools/check-engines $(CHECK) $(NAMES)

check-package:
	@tools/bootstrap run build test
	@$(MAKE) --no-print-directory $(CHECK)/build.ninja
	@tools/run-tests $(CHECK) --suite package

# Not every shell expands the ~ of PREFIX=~/.local.
install: $(BUILD)/build.ninja
	$(MESON) configure $(BUILD) -Dprefix=$(abspath $(patsubst ~/%,$(HOME)/%,$(PREFIX)))
	$(MESON) install -C $(BUILD)

# What the last install from this build folder put there. Meson leaves empty folders, workers their bytecode.
uninstall:
	ninja -C $(BUILD) uninstall
	@sed -n 's,\(/.*/llem\)/.*,\1,p' $(BUILD)/meson-logs/install-log.txt | sort -u | while read -r dir; do \
	    find "$$dir" -depth \( -name '*.pyc' -o -type d -empty \) -delete; done

style:
	@tools/bootstrap run build test style
	tools/check-style

bench campaign:
	@tools/bootstrap run build test $@
	tools/$@

clean:
	rm -rf $(BUILD) $(CHECK) build-*

.PHONY: all try check check-engines check-package install uninstall style bench campaign clean
