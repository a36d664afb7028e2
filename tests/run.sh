#!/usr/bin/env bash
#
# Runs every check and every test, and installs what they need where it is missing.
#
#   tests/run.sh [--long] [--bench] [--nspawn] [--mutants] [--only STEP]...
#
#   --only STEP   this step alone; may be repeated
#   --long        also the tests that take minutes
#   --bench       also the benchmark, in release mode, after everything else
#   --mutants     also mutation testing of the judge, about an hour; needs cargo-mutants
#   --nspawn      also a round of signing under a real systemd in a container; needs root
#
# Steps: packages format shell tidy deny systemd clippy docs build setup modules tests fuzz nspawn kills storms
#        mutants bench compare
# "kills" is run by name alone: 10,000 kills of the daemon, or SIGNERD_KILLS, and a third of it on bad disks.
# "storms" is run by name alone: 100,000 random faults of the HSM, or SIGNERD_STORMS, 1,000,000 corrupted
# signatures, or SIGNERD_CORRUPTED, and a soak of 1,000,000 signatures, or SIGNERD_SOAK.
# "compare" is run by name alone: signerd beside Parsec and a shell script, on the same SoftHSM. It fetches Parsec
# from crates.io and builds it, once.
# The first step that fails ends the run. What cannot be checked here is named by a line with SKIPPED.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    read_arguments "$@"
    local step
    for step in "${steps[@]}"; do run_step "$step"; done
    printf '== all passed in %d s\n' "$SECONDS"
}

read_arguments() {
    steps=() long='' bench='' nspawn='' mutants=''
    local all=(packages format shell tidy deny systemd clippy docs build setup modules tests fuzz)
    while (($#)); do
        case $1 in
        --long) long=yes ;;
        --bench) bench=yes ;;
        --nspawn) nspawn=yes ;;
        --mutants) mutants=yes ;;
        --only)
            declare -F "step_${2-}" >/dev/null || fail "--only: there is no step \"${2-}\"; see --help"
            steps+=("$2")
            shift
            ;;
        -h | --help) sed -n '3,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) fail "unknown argument \"$1\"; see --help" ;;
        esac
        shift
    done
    if ((${#steps[@]} == 0)); then steps=("${all[@]}" ${nspawn:+nspawn} ${mutants:+mutants} ${bench:+bench}); fi
}

run_step() {
    local begin=$SECONDS
    printf '== %s\n' "$1"
    trap 'printf "== %s FAILED after %d s\n" "'"$1"'" "$((SECONDS - '"$begin"'))" >&2' EXIT
    "step_$1"
    trap - EXIT
    printf '== %s: %d s\n' "$1" "$((SECONDS - begin))"
}

fail() { echo "$*" >&2; exit 1; }
skipped() { echo "SKIPPED: $*" >&2; }
have() { command -v "$1" >/dev/null; }

step_packages() {
    local missing=()
    have softhsm2-util || missing+=(softhsm2)
    have pkcs11-tool || missing+=(opensc)
    have openssl || missing+=(openssl)
    have shellcheck || missing+=(shellcheck)
    have systemd-analyze || missing+=(systemd)
    have haproxy || missing+=(haproxy)
    { have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; } || missing+=(postgresql)
    { have gcc && have cc; } || missing+=(gcc)
    have c++ || missing+=(g++)
    [[ -e /usr/include/stdlib.h ]] || missing+=(libc6-dev)
    if ((${#missing[@]})); then tests/packages.sh "${missing[@]}"; fi
    have cargo || fail "cargo is missing; install the Rust toolchain that rust-version in Cargo.toml names"
    # A minimal toolchain comes without them.
    if ! cargo fmt --version &>/dev/null || ! cargo clippy --version &>/dev/null; then
        rustup component add rustfmt clippy
    fi
}

step_format() {
    cargo fmt --all --check
    cargo fmt --check --manifest-path tests/compare/parsec/Cargo.toml
}

step_shell() {
    local scripts
    mapfile -t scripts < <(grep --recursive --files-with-matches --exclude-dir={target,dev,bench,.git} \
        --max-count=1 '^#!/usr/bin/env bash' .)
    # One of them reads the functions of another.
    shellcheck --external-sources "${scripts[@]}"
    gcc -fsyntax-only -Wall -Wextra -Werror -D_GNU_SOURCE tests/token/keygen.c tests/faults/faults.c
}

# Of the whole workspace: one package alone would have its dependencies built with other features again.
step_tidy() { cargo test --locked --quiet --workspace --test tidy; }

# Bans, licences and sources are also checked by tidy, from the same lists.
step_deny() {
    if ! cargo deny --version &>/dev/null; then
        skipped "cargo-deny is not installed: no advisories, and bans and licences only as tidy sees them"
        return
    fi
    cargo deny --offline --locked check bans licenses sources
    if compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*" >/dev/null; then
        cargo deny --offline --locked check advisories
    else
        skipped "no advisory database at hand; get one by: cargo deny fetch db"
    fi
}

step_systemd() {
    local stage unit drop_in
    stage=$(mktemp -d)
    stage_units "$stage"
    for unit in systemd/*.service systemd/*.socket; do
        # A template is verified as one of its instances.
        unit=$(basename "$unit")
        verify_unit "$stage" "${unit/@./@1.}"
    done
    exposure "$stage" signerd.service 1.0
    exposure "$stage" signerd-hsm@1.service 1.0
    for drop_in in systemd/hsm/*.conf; do
        rm -rf "$stage/etc/systemd"
        install -D --mode=0644 --target-directory "$stage/etc/systemd/system/signerd-hsm@.service.d" "$drop_in"
        verify_unit "$stage" signerd-hsm@1.service
        # A worker that talks to a network HSM has a network.
        exposure "$stage" signerd-hsm@1.service "$([[ $drop_in == */network.conf ]] && echo 1.2 || echo 1.0)" \
            "$(basename "$drop_in")"
    done
    rm -rf "$stage/etc/systemd"
    install -D --mode=0644 --target-directory "$stage/etc/systemd/system/signerd.service.d" systemd/ledger/postgres.conf
    verify_unit "$stage" signerd.service
    exposure "$stage" signerd.service 1.0 postgres.conf
    rm -rf "$stage"
}

# A root directory with this machine's units and ours: units are verified with what they refer to.
stage_units() {
    mkdir -p "$1/usr/lib/systemd/system" "$1/usr/sbin" "$1/etc"
    ln -s usr/lib "$1/lib"
    cp -r /lib/systemd/system/. "$1/usr/lib/systemd/system/"
    cp systemd/*.service systemd/*.socket "$1/usr/lib/systemd/system/"
    install -m 0755 /bin/true "$1/usr/sbin/signerd"
    # What the units call besides has to exist there too.
    install -D -m 0755 /bin/true "$1/bin/kill"
}

verify_unit() {
    local output
    output=$(systemd-analyze verify --man=no --recursive-errors=no --root="$1" "$2" 2>&1) || fail "$output"
    # Misspelled settings are only warnings to systemd.
    [[ -z $output ]] || fail "$output"
}

# exposure STAGE UNIT LIMIT [DROP-IN]
exposure() {
    local report
    report=$(systemd-analyze security --offline=true --root="$1" --threshold="$(tenfold "$3")" "$2") ||
        fail "$(grep -v '✓' <<<"$report")"$'\n'"$2${4:+ with $4}: more exposed than $3"
    echo "$2${4:+ with $4}: exposure $(grep -o 'level for.*: [0-9.]*' <<<"$report" | sed 's/.*: //'), at most $3"
}

tenfold() { echo "${1/./}"; }

step_clippy() { cargo clippy --workspace --all-targets --locked --quiet -- -D warnings; }

step_docs() {
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
    cargo test --workspace --doc --locked --quiet
}

# The tests start the real programs, which lie beside them.
step_build() { cargo build --workspace --bins --locked --quiet; }

# The development set-up, twice: the second time everything is kept but the revocation lists.
step_setup() {
    local dir before loose
    dir=$(mktemp -d)
    ./softhsm-setup.sh --dir "$dir"
    before=$(fingerprints "$dir")
    local crl
    crl=$(openssl crl -in "$dir/pki/crl.pem" -noout -crlnumber)
    ./softhsm-setup.sh --dir "$dir"
    [[ $before == "$(fingerprints "$dir")" ]] || fail "the second set-up changed what it had to keep"
    [[ $crl != "$(openssl crl -in "$dir/pki/crl.pem" -noout -crlnumber)" ]] ||
        fail "the second set-up did not renew the revocation list"
    loose=$(find "$dir" -type f -perm /077)
    [[ -z $loose ]] || fail "readable for others: $loose"
    rm -rf "$dir"
}

# Keys, certificates, PINs and configuration; not what SoftHSM and the authorities write at each use.
fingerprints() {
    find "$1" -type f -not -path '*/tokens/*' -not -path '*/db/*' -not -name '*crl.pem' -print0 |
        sort --zero-terminated | xargs --null sha256sum
}

# The other PKCS#11 modules that the signing tests run on; where one cannot be had, they say so again.
step_modules() {
    local module
    for module in kryoptic nss p11kit; do
        tests/token/modules.sh "$module" || (($? == 77)) || fail "tests/token/modules.sh $module failed"
    done
}

step_tests() {
    local profile=default ignored=() shared=../shared
    # The tests say it too, but a runner shows what a passed test says to nobody.
    [[ -d ${SIGNERD_HCERT_DATA:-$shared/hcert/data} ]] ||
        skipped "no published vectors (SIGNERD_HCERT_DATA): the tests that read the EU's schema, value sets and certificates"
    [[ -d ${SIGNERD_CONTRACT:-$shared/contract} ]] ||
        skipped "no published contract (SIGNERD_CONTRACT): docs/api.cddl alone is held against the wire"
    if [[ -n $long ]]; then profile=long; fi
    if cargo nextest --version &>/dev/null; then
        if [[ -n $long ]]; then ignored=(--run-ignored all); fi
        cargo nextest run --workspace --locked --profile "$profile" "${ignored[@]}"
    else
        if [[ -n $long ]]; then ignored=(-- --include-ignored); fi
        cargo test --workspace --lib --bins --tests --locked "${ignored[@]}"
    fi
}

# Each fuzz target for SIGNERD_FUZZ_SECONDS, 10 if not set, and with --long for ten minutes.
step_fuzz() {
    local target seconds=${SIGNERD_FUZZ_SECONDS:-10}
    if [[ -n $long ]]; then seconds=${SIGNERD_FUZZ_SECONDS:-600}; fi
    if ! have c++; then
        skipped "there is no C++ compiler for libFuzzer: the fuzz targets only repeated their seeds, in the tests"
        return
    fi
    tests/fuzz/fuzz.sh --build
    while read -r target; do fuzz_one "$target" "$seconds"; done < <(tests/fuzz/fuzz.sh --list)
}

# Runs one target and says in one line what it did; a finding ends the run.
fuzz_one() {
    local log=target/fuzz/$1.log statistics executions
    if ! tests/fuzz/fuzz.sh "$1" -max_total_time="$2" -print_final_stats=1 &>"$log" </dev/null; then
        tail --lines=40 "$log" >&2
        fail "the fuzz target $1 found something: the input is in target/fuzz/artifacts/$1, all it said in $log
repeat it by: tests/fuzz/fuzz.sh $1 FILE"
    fi
    # Without counters libFuzzer would search blindly and say so in no other way.
    grep --quiet 'INFO: Loaded .* inline 8-bit counters' "$log" || fail "$1 was built without coverage; see $log"
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    statistics=$(grep --only-matching 'cov: [0-9]* ft: [0-9]* corp: [0-9]*' "$log" | tail --lines=1)
    [[ ${executions:-0} -gt 0 && -n $statistics ]] || fail "$1 says nothing of what it did; see $log"
    printf '%s: %s executions in %s s, %s\n' "$1" "$executions" "$2" "$statistics"
}

# What a change of the judge's code does that no test sees; .cargo/mutants.toml says what is left out.
step_mutants() {
    if ! cargo mutants --version &>/dev/null; then
        skipped "cargo-mutants is not installed: no mutation testing of the judge"
        return
    fi
    # Without optimisation: here compiling costs more than running.
    CARGO_PROFILE_DEV_OPT_LEVEL=0 PROPTEST_CASES=48 \
        cargo mutants --package policy --timeout 30 --output target
}

# The tests make 200 of them; this goes on for hours, and says after every 200 what they came to.
step_kills() {
    step_build
    SIGNERD_KILLS=${SIGNERD_KILLS:-10000} \
        cargo test --locked --workspace --test it -- --nocapture --test-threads=2 kills::
}

# The tests make 2,000 schedules, 100,000 corrupted signatures and a soak of 140,000; this goes on for hours.
step_storms() {
    step_build
    SIGNERD_STORMS=${SIGNERD_STORMS:-100000} SIGNERD_CORRUPTED=${SIGNERD_CORRUPTED:-1000000} \
        SIGNERD_SOAK=${SIGNERD_SOAK:-1000000} \
        cargo test --locked --workspace --test it -- --nocapture --test-threads=1 storms::
}

step_nspawn() {
    step_build
    tests/nspawn.sh
}

step_bench() {
    build_release
    "${CARGO_TARGET_DIR:-target}/release/bench"
    "${CARGO_TARGET_DIR:-target}/release/bench" judging
}

# What is in the package of its own is checked here too: nobody else has its dependencies.
step_compare() {
    build_release
    cargo clippy --manifest-path tests/compare/parsec/Cargo.toml --all-targets --locked --quiet \
        --target-dir "${CARGO_TARGET_DIR:-target}/compare/parsec-load" -- -D warnings
    tests/compare/compare.sh
}

# The benchmark runs the binaries beside its own, so that all of them are built in the same profile.
build_release() {
    cargo build --release --workspace --bins --locked
    # The product as it is given away: what the tests ask of it is compiled out again.
    cargo build --release --bins --locked
}

main "$@"
