#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_test.sh SOURCE_DIR: gives `scripts/check format|licence` a good and a bad tree.
set -euo pipefail
source=$1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{scripts,.ci,src/map}
cp "$source/scripts/check" "$work/scripts/"
cp "$source/.clang-format" "$work/"
check=$work/scripts/check
file=$work/src/map/map.hpp

fail() {
  echo "check_test: $*" >&2
  exit 1
}

printf '// SPDX-License-Identifier: Apache-2.0\nint f();\n' >"$file"
"$check" format || fail "format refuses a good tree"
"$check" licence || fail "licence refuses a good tree"

printf '// SPDX-License-Identifier: Apache-2.0\nint   f ( );\n' >"$file"
"$check" format 2>"$work/findings" && fail "format accepts a bad file"
[[ $(<"$work/findings") == *src/map/map.hpp:2* ]] || fail "format does not name the bad line"
"$check" fix-format
"$check" format || fail "fix-format does not satisfy format"

printf 'int f();\n' >"$file"
"$check" licence 2>"$work/findings" && fail "licence accepts a file without a licence"
[[ $(<"$work/findings") == src/map/map.hpp:* ]] || fail "licence does not name the bad file"
: >"$file"
"$check" licence 2>/dev/null && fail "licence accepts an empty file"

status=0
"$check" no-such-check 2>/dev/null || status=$?
((status == 2)) || fail "an unknown check exits with $status, not 2"
