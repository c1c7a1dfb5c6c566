#!/usr/bin/env bash
# Passes if everything about this project passes. Needs Rust with rustfmt and clippy, a C compiler, and for the check of
# template.yaml cfn-lint or Python 3 (which then fetches it). Each step's whole output is in target/test-logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly LOGS=target/test-logs
readonly CFN_LINT_VERSION=1.58.0
readonly TAIL=60
export CARGO_TERM_COLOR=never

# --- What is missing, all of it at once -------------------------------------------------------------------------------

missing=()
need() { # what, how to get it, a command that succeeds if it is there
    local what=$1 how=$2
    shift 2
    "$@" >/dev/null 2>&1 || missing+=("$what is missing: $how")
}
cfn_lint_works() { cfn-lint --version; }
python_makes_venvs() { python3 -c 'import venv, ensurepip'; }
template_can_be_checked() { cfn_lint_works || python_makes_venvs; }

need cargo "install Rust from https://rustup.rs" cargo --version
need rustfmt "rustup component add rustfmt" cargo fmt --version
need clippy "rustup component add clippy" cargo clippy --version
need "a C compiler" "apt-get install -y gcc libc6-dev" cc --version
need "cfn-lint, or Python 3 to fetch it with," "apt-get install -y python3 python3-venv" template_can_be_checked
if [ ${#missing[@]} -gt 0 ]; then
    printf '%s\n' "${missing[@]}" >&2
    exit 1
fi

# --- Steps ------------------------------------------------------------------------------------------------------------

rm -rf "$LOGS"
mkdir -p "$LOGS"

# Counts of all test logs: cargo test's lines "test result: ..." and nextest's line "Summary ...".
tally() {
    find "$LOGS" -name 'test-*.log' -exec cat {} + | awk '
        function before(word) { return match($0, "[0-9]+ " word) ? substr($0, RSTART, RLENGTH) + 0 : 0 }
        /^test result: / || /^ *Summary \[/ { passed += before("passed"); failed += before("failed") + before("timed out") + before("exec failed") }
        END { printf "%d passed, %d failed\n", passed, failed }'
}

step() { # the log's name, then the command
    local name=$1 start=$SECONDS
    shift
    printf '%-20s' "$name"
    if "$@" >"$LOGS/$name.log" 2>&1; then
        printf '%-7s%5d s\n' ok $((SECONDS - start))
    else
        printf '%-7s%5d s\n' FAILED $((SECONDS - start))
        printf '\n%s\n' "The end of $LOGS/$name.log:"
        tail -n "$TAIL" "$LOGS/$name.log"
        printf '\n%s\n' "$(tally); $name failed"
        exit 1
    fi
}

check_template() {
    local lint=cfn-lint venv=target/cfn-lint
    if ! cfn_lint_works; then
        lint=$venv/bin/cfn-lint
        if [ ! -x "$lint" ]; then
            python3 -m venv --clear "$venv" || return 1
            "$venv/bin/python" -m pip install --disable-pip-version-check "cfn-lint==$CFN_LINT_VERSION" || return 1
        fi
    fi
    "$lint" template.yaml
}

step format cargo fmt --all --check
step clippy cargo clippy --workspace --all-targets --locked -- -D warnings
# A test starts the four functions as they are shipped.
step release-binaries cargo build --release --locked -p tradepost-aws
if cargo nextest --version >/dev/null 2>&1; then
    step test-all cargo nextest run --workspace --locked --no-fail-fast
    step test-doc cargo test --workspace --locked --no-fail-fast --doc
else
    step test-all cargo test --workspace --locked --no-fail-fast
fi
step demo-emqx-cloud cargo run --locked -- demo emqx-cloud-aws
step demo-emqx-platform cargo run --locked -- demo emqx-platform-aws
step template check_template

result=$(tally)
echo "$result"
if [[ $result == "0 passed,"* || $result != *", 0 failed" ]]; then
    exit 1
fi
