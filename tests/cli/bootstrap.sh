#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tools/bootstrap on pretended systems: a dpkg-query that knows some packages, an apt-get and a sudo that
# only say how they were called.
. "$(dirname "$0")/tap.sh"

boot=$here/../../tools/bootstrap
fake=$tmp/fake
mkdir "$fake"
for name in sh awk cat env dirname sed; do ln -s "$(command -v $name)" "$fake/$name"; done
stub() { # never through one of the links
    rm -f "$fake/$1"
    printf '#!/bin/sh\n%s\n' "$2" >"$fake/$1" && chmod +x "$fake/$1"
}
stub id 'echo 0'
stub dpkg-query 'case $4 in libzstd-dev | meson) exit 1 ;; *) printf installed ;; esac'
stub apt-get 'echo "apt-get $*" >>"'"$tmp"'/calls"'
stub sudo 'echo "sudo $*" >>"'"$tmp"'/calls"'

say "names"
run "$boot" list build test
exits 0
prints '^libfyaml-dev$'
prints '^libcmocka-dev$'
check "each is named once" test "$(sort "$tmp/out" | uniq -d | wc -l)" = 0

say "where a release has another name for it"
printf 'ID=ubuntu\nVERSION_ID="22.04"\n' >"$tmp/os-release"
run env OS_RELEASE="$tmp/os-release" "$boot" list campaign
exits 0
prints '^libclang-common-14-dev$'
check "the usual name is not asked for" test "$(grep -c libclang-rt "$tmp/out")" = 0

say "two packages are missing"
run env PATH="$fake" "$boot" run build
exits 0
complains 'install -y --no-install-recommends meson libzstd-dev$'
check "they alone are installed" grep -qx 'apt-get install -y --no-install-recommends meson libzstd-dev' "$tmp/calls"
check "the command is printed before it runs" test -s "$tmp/err"

say "without root"
rm -f "$tmp/calls"
stub id 'echo 1000'
run env PATH="$fake" "$boot" run build
exits 0
complains '^    sudo apt-get install'
check "sudo runs it" grep -q '^sudo apt-get install -y' "$tmp/calls"

say "NO_INSTALL=1"
rm -f "$tmp/calls"
run env PATH="$fake" NO_INSTALL=1 "$boot" run build
exits 1
complains 'meson libzstd-dev'
check "nothing is run" test ! -e "$tmp/calls"

say "nothing is missing"
stub dpkg-query 'printf installed'
run env PATH="$fake" "$boot" run build test
exits 0
quiet
silent

say "elsewhere"
rm "$fake/apt-get"
run env PATH="$fake" "$boot" run build
exits 1
complains 'no apt'
complains '^    libfyaml-dev$'

done_testing
