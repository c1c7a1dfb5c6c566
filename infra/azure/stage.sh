#!/usr/bin/env bash
# Lays out what is deployed to Azure Functions: stage.sh OUT [BINARY]
# OUT must be new or empty. Without BINARY the handler is built here, for x86_64 Linux; the C library it needs must not be
# newer than what Azure runs.
# POLICY names the policy file to ship:  POLICY=policies/mine.toml infra/azure/stage.sh target/azure
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
policy=${POLICY:-$root/policies/emqx.toml}
readonly root policy
readonly PACKAGE=tradepost-azure GLIBC=2.34

fail() {
    echo "stage.sh: $*" >&2
    exit 1
}

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    fail "usage: stage.sh OUT [BINARY]"
fi
out=$1
binary=${2:-}
# host.json says how the host calls the handler; the file must have that name.
handler=$(sed -n 's/.*"defaultExecutablePath": *"\([^"]*\)".*/\1/p' "$root/host.json")
[ -n "$handler" ] || fail "host.json: customHandler.description.defaultExecutablePath is missing"
[ -f "$policy" ] || fail "$policy: no such policy file"
if [ -e "$out" ] && { [ ! -d "$out" ] || [ -n "$(ls -A "$out")" ]; }; then
    fail "$out is not empty"
fi

if [ -z "$binary" ]; then
    (cd "$root" && cargo build --release --locked --package "$PACKAGE" --bin "$handler")
    target=${CARGO_TARGET_DIR:-target}
    [ "${target:0:1}" = / ] || target=$root/$target
    binary=$target/release/$handler
fi
[ -f "$binary" ] || fail "$binary: no such file"

mkdir -p "$out"
install -m 644 "$root/host.json" "$out/host.json"
install -m 755 "$binary" "$out/$handler"
install -m 644 "$policy" "$out/policy.toml"
for folder in "$root"/functions/azure/functions/*/; do
    name=$(basename "$folder")
    install -d "$out/$name"
    install -m 644 "$folder/function.json" "$out/$name/function.json"
done

# --- What is there now ------------------------------------------------------------------------------------------------

# The host starts nothing but an ELF file for its own kind of machine; a binary for another is accepted and then fails.
header=$(od -An -tx1 -N20 "$out/$handler" | tr -d ' \n')
[ "${header:0:10}" = 7f454c4602 ] || fail "$handler is not a 64-bit ELF file"
[ "${header:36:4}" = 3e00 ] || fail "$handler is not for x86_64"
[ -x "$out/$handler" ] || fail "$handler cannot be executed"
# The newest version of the C library that any symbol asks for; none if it is linked in.
needs=$(grep -ao 'GLIBC_2\.[0-9]*' "$out/$handler" | sort -Vu | tail -n 1 | cut -d_ -f2 || true)
if [ -n "$needs" ] && [ "$(printf '%s\n' "$needs" "$GLIBC" | sort -V | tail -n 1)" != "$GLIBC" ]; then
    fail "$handler needs glibc $needs, Azure's may be $GLIBC: build on an older system, or with cargo-zigbuild for $GLIBC"
fi
found=0
for file in "$out"/*/function.json; do
    grep -q '"type": "[a-zA-Z]*Trigger"' "$file" || fail "$file has no trigger"
    [ "$(basename "$(dirname "$file")")" != "$handler" ] || fail "a function has the handler's name"
    found=$((found + 1))
done
for name in landing webhook worker sweeper metering reconcile; do
    [ -f "$out/$name/function.json" ] || fail "$name/function.json is missing"
done
if find "$out" -type l -o -name '*.settings.json' -o -name '.env' | grep -q .; then
    fail "a link or a file of settings got into $out"
fi
echo "$out: $handler ($(du -h --apparent-size "$out/$handler" | cut -f1), glibc ${needs:-none}), $found functions, policy $(basename "$policy")"
