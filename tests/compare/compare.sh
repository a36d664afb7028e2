#!/usr/bin/env bash
#
# Compares signerd with what one would take instead, on the same SoftHSM in the same run.
#
#   tests/compare/compare.sh [--rounds N] [--seconds S] [--bin DIR]
#
#   --rounds N    how often all of it is measured (default: 3)
#   --seconds S   how long each measurement takes, roughly (default: 3)
#   --bin DIR     where signerd's release programs are (default: target/release)
#
# Of each algorithm it measures in turn:
#
#   raw           the module's own rate: a loop of signatures in as many processes as signerd has workers
#   raw-one       the same in one process
#   parsec-10ms   Parsec with its PKCS#11 provider, as it comes: 1, 2, 4 and 8 threads ask over its socket
#   parsec-1ms    the same, but its listener sleeps for 1 ms instead of 10 when nobody waits
#   parsec-pool   that, and it works with 8 threads instead of one for each core: 8 and 32 threads ask
#   pkcs11-tool   a shell script: a process of OpenSC and a log-in for each signature, in one loop and in two
#   signerd       certificates over mTLS: judged, in the durable ledger, every signature verified
#
# The raw loop runs between all measurements, and each rate is given as a share of the mean of the raw loops
# before and after it; signerd's by its own benchmark, which does the same. Shares mean something on a quiet
# machine: of a busy one a program of many threads gets more than the raw loop. There the processor time of a
# signature says more, that of its caller included. Parsec signs nothing by PSS, so
# under PS256 it signs by PKCS1v15, which costs the HSM the same.
#
# Parsec and its client are fetched from crates.io and built once, in target/compare. A table on standard
# output, a line of JSON, and for each algorithm signerd's share as a multiple of Parsec's best in each setting.

set -euo pipefail

# shellcheck source=softhsm-setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../softhsm-setup.sh"

export LC_ALL=C # there is a point in EPOCHREALTIME

readonly parsec_version=1.5.0
# Name, its listener's sleep in ms, its own threads (- as it comes), and how many ask.
readonly parsec_settings=(
    'parsec-10ms 10 - 1 2 4 8'
    'parsec-1ms 1 - 1 2 4 8'
    'parsec-pool 1 8 8 32'
)
readonly socket_wait_s=10

main() {
    read_arguments "$@"
    install_missing
    install_for_parsec
    build_parsec
    build_load
    enter_results
    make_set_up
    make_parsec_token
    ask_for_pss
    local round algorithm
    for ((round = 1; round <= rounds; round++)); do
        for algorithm in PS256 ES256; do
            say "round $round of $rounds: $algorithm"
            measure
        done
    done
    awk -f "$root/tests/compare/report.awk" "$results/lines"
}

say() { printf 'compare: %s\n' "$*" >&2; }
die() { printf 'compare: %s\n' "$*" >&2; exit 1; }

read_arguments() {
    command=compare rounds=3 seconds=3 bin=$target/release
    while (($#)); do
        case $1 in
        --rounds) rounds=${2:?--rounds needs a number}; shift ;;
        --seconds) seconds=${2:?--seconds needs a number}; shift ;;
        --bin) bin=${2:?--bin needs a directory}; shift ;;
        -h | --help) sed -n '3,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) die "unknown argument \"$1\"; see --help" ;;
        esac
        shift
    done
    [[ $rounds =~ ^[1-9][0-9]*$ && $seconds =~ ^[1-9][0-9]*$ ]] || die "--rounds and --seconds are whole numbers from 1"
    local program
    for program in bench ceiling signerd; do
        [[ -x $bin/$program ]] ||
            die "$bin/$program is not built; run: cargo build --release --workspace --bins --locked"
    done
}

# ------------------------------------------------------------------------------------------ programs

# What SoftHSM and signerd need is here already. This is for Mbed TLS, which Parsec contains.
install_for_parsec() {
    local missing=()
    have cargo || die "cargo is missing; install the Rust toolchain that rust-version in Cargo.toml names"
    have make || missing+=(make)
    have cmake || missing+=(cmake)
    compgen -G '/usr/lib/llvm-*/lib/libclang.so' >/dev/null || missing+=(libclang-dev)
    if ((${#missing[@]})); then "$root/tests/packages.sh" "${missing[@]}"; fi
}

# With the lock file that its authors publish.
build_parsec() {
    local store=$target/compare
    local installed=$store/parsec-service-$parsec_version
    parsec=$installed/bin/parsec
    if [[ -x $parsec ]]; then return; fi
    say "building Parsec $parsec_version, which takes some minutes"
    mkdir -p "$store"
    cargo install parsec-service --version "=$parsec_version" --locked --root "$installed" \
        --target-dir "$store/build" --no-default-features \
        --features pkcs11-provider,unix-peer-credentials-authenticator &>"$store/parsec.log" ||
        die "Parsec does not build; see $store/parsec.log"
    rm -rf "$store/build"
}

build_load() {
    cargo build --release --locked --quiet --manifest-path "$root/tests/compare/parsec/Cargo.toml" \
        --target-dir "$target/compare/parsec-load"
    load=$target/compare/parsec-load/release/parsec-load
}

# -------------------------------------------------------------------------------------------- set-up

enter_results() {
    # Not below the target folder: the path of a socket may have 107 bytes.
    results=$(mktemp -d)
    parsec_pid='' parsec_socket=$results/parsec.sock
    trap 'stop_parsec; rm -rf "$results"' EXIT
}

# The set-up of signerd: its token is that of the raw loop and of the shell script.
make_set_up() {
    development=$results/development
    "$root/softhsm-setup.sh" --dir "$development" &>"$results/log" || die "no set-up: $(tail -n 5 "$results/log")"
    loops=$(sed -n 's/^workers = \([0-9]*\).*/\1/p' "$development/hsm.toml")
}

# Parsec has a token of its own: among its own keys it finds one sooner than among signerd's as well.
make_parsec_token() (
    say() { :; }
    dir=$results/parsec
    enter_directory
    make_token
    token_report | sed -n 's/^ *serial num *: *//p' >serial
)

# parsec_toml SLEEP [THREADS]
parsec_toml() {
    cat <<END
[core_settings]
allow_root = true # it runs as whoever starts this
log_level = "warn"
idle_listener_sleep_duration = $1
${2:+thread_pool_size = $2}

[listener]
listener_type = "DomainSocket"
timeout = 200
socket_path = "$parsec_socket"

[authenticator]
auth_type = "UnixPeerCredentials"

[[key_manager]]
name = "sqlite-manager"
manager_type = "SQLite"
sqlite_db_path = "$results/parsec/keys.sqlite"

[[provider]]
provider_type = "Pkcs11"
key_info_manager = "sqlite-manager"
library_path = "$module"
serial_number = "$(<"$results/parsec/serial")"
user_pin = "$(<"$results/parsec/secrets/user-pin")"
END
}

# ----------------------------------------------------------------------------------------- one round

# Measures all of them with the algorithm of the caller, from raw loop to raw loop.
measure() {
    local key=vn-moh setting words callers
    if [[ $algorithm == ES256 ]]; then key=vn-moh-ec; fi
    raw raw "$loops"
    raw raw-one 1
    for setting in "${parsec_settings[@]}"; do
        IFS=' ' read -r -a words <<<"$setting"
        for callers in "${words[@]:3}"; do
            with_parsec "${words[@]:0:3}" "$callers"
            raw raw "$loops"
        done
    done
    pkcs11_tool 1
    raw raw "$loops"
    if ((loops > 1)); then pkcs11_tool "$loops"; fi
    raw raw "$loops"
    signerd
}

# record WHO CALLERS PER-SECOND RAW P50-MS CPU-US REMARK: what is not known is "-", and RAW then that around it.
record() {
    local IFS=$'\t'
    printf '%s\t%s\n' "$algorithm" "$*" >>"$results/lines"
}

# number NAME: prints the number of that name in the JSON on standard input, or the median of that name.
number() { sed -n "s/.*\"$1\":\({[^}]*\"median\":\)\{0,1\}\([-+0-9.eE]\{1,\}\).*/\2/p"; }

# Runs a command with its output in $results/output, and sets "cpu" to the microseconds of processor time
# that it took with all it started.
timed() {
    local TIMEFORMAT='%U %S'
    { time "$@" >"$results/output" 2>"$results/log"; } 2>"$results/time" ||
        die "$(basename "$1") failed: $(tail -n 5 "$results/log")"
    cpu=$(awk '{ printf "%d", ($1 + $2) * 1e6 }' "$results/time")
}

# The number of that name in what the last command said.
found() { number "$1" <"$results/output"; }

# raw WHO PROCESSES
raw() {
    timed "$bin/ceiling" --config "$development/hsm.toml" --key "$key" --processes "$2" --sessions 1 \
        --seconds "$seconds"
    record "$1" "$2" "$(found per_second)" - - $((cpu / $(found signatures))) 'the HSM alone'
}

# -------------------------------------------------------------------------------------------- Parsec

# with_parsec NAME SLEEP THREADS CALLERS: it runs only while it is measured.
with_parsec() {
    local kind=ec remark='ECDSA' before service
    if [[ $algorithm == PS256 ]]; then kind=rsa remark="PKCS1v15; asked for PSS it says $pss_answer"; fi
    start_parsec "$2" "$3"
    before=$(parsec_cpu)
    timed parsec_load sign --key "$kind" --threads "$4" --seconds "$seconds"
    service=$(($(parsec_cpu) - before))
    stop_parsec
    record "$1" "$4" "$(found per_second)" - "$(found p50_ms)" $(((cpu + service) / $(found signatures))) "$remark"
}

ask_for_pss() {
    start_parsec 10 -
    pss_answer=$(parsec_load pss)
    stop_parsec
}

# start_parsec SLEEP THREADS
start_parsec() {
    parsec_toml "$1" "${2/-/}" >"$results/parsec/parsec.toml"
    rm -f "$parsec_socket"
    SOFTHSM2_CONF=$results/parsec/softhsm2.conf \
        "$parsec" --config "$results/parsec/parsec.toml" &>"$results/parsec/log" &
    parsec_pid=$!
    local until=$((SECONDS + socket_wait_s))
    while [[ ! -S $parsec_socket ]]; do
        if ((SECONDS > until)) || ! kill -0 "$parsec_pid" 2>/dev/null; then
            die "Parsec does not listen: $(tail -n 5 "$results/parsec/log")"
        fi
        sleep 0.05
    done
}

stop_parsec() {
    if [[ -z $parsec_pid ]]; then return 0; fi # in a trap it would return what the program ends with
    kill -TERM "$parsec_pid" 2>/dev/null || true
    wait "$parsec_pid" || say "Parsec ended with exit code $?: $(tail -n 5 "$results/parsec/log")"
    parsec_pid=''
}

# Microseconds of processor time that the service has had.
parsec_cpu() { awk -v tick="$(getconf CLK_TCK)" '{ printf "%d", ($14 + $15) / tick * 1e6 }' "/proc/$parsec_pid/stat"; }

parsec_load() { PARSEC_SERVICE_ENDPOINT=unix:$parsec_socket "$load" "$@"; }

# --------------------------------------------------------------------------------------- pkcs11-tool

# pkcs11_tool LOOPS
pkcs11_tool() {
    local id loop began took failed rate p50 remark='a process and a log-in for each'
    local -x SOFTHSM2_CONF=$development/softhsm2.conf
    id=$(key_id)
    openssl rand 32 >"$results/digest"
    began=${EPOCHREALTIME/./}
    timed tool_loops "$1"
    took=$((${EPOCHREALTIME/./} - began))
    for ((loop = 0; loop < $1; loop++)); do
        check_signature "$loop" || die "loop $loop of pkcs11-tool: $(tail -n 5 "$results/tool-log-$loop")"
    done
    failed=$(grep -c failed "$results/output") || true
    if ((failed)); then remark+="; $failed of $(wc -l <"$results/output") found no token or no PIN"; fi
    # Of microseconds for each: signatures in a second, the milliseconds of the median, and what each cost.
    grep -v failed "$results/output" | sort -n | awk -v took="$took" -v cpu="$cpu" '
        { all[NR] = $1 }
        END { print NR / took * 1e6, all[int((NR + 1) / 2)] / 1e3, int(cpu / NR) }' >"$results/tool"
    read -r rate p50 cpu <"$results/tool"
    record pkcs11-tool "$1" "$rate" - "$p50" "$cpu" "$remark"
}

tool_loops() {
    local loop pids=()
    for ((loop = 0; loop < $1; loop++)); do
        tool_loop "$loop" &
        pids+=($!)
    done
    wait "${pids[@]}"
}

# pkcs11-tool signs with the key of an id; a label it does not heed.
key_id() {
    pkcs11-tool --module "$module" --token-label "$token_label" --list-objects --type pubkey 2>/dev/null |
        awk -v label="$key" '$1 == "label:" { mine = $2 == label } $1 == "ID:" && mine { print $2 }'
}

# Makes one signature after the other, and prints the microseconds that each took. Each log-in writes SoftHSM's
# token.object anew, and who reads it meanwhile finds no token or no PIN now and then: that is no signature.
tool_loop() {
    local began ended until made how=(--mechanism ECDSA --signature-format openssl)
    if [[ $algorithm == PS256 ]]; then
        how=(--mechanism RSA-PKCS-PSS --hash-algorithm SHA256 --mgf MGF1-SHA256 --salt-len 32)
    fi
    export USER_PIN
    USER_PIN=$(<"$development/secrets/user-pin")
    ended=${EPOCHREALTIME/./}
    until=$((ended + seconds * 1000000))
    while ((ended < until)); do
        began=$ended made=yes
        pkcs11-tool --module "$module" --token-label "$token_label" --login --pin env:USER_PIN \
            --sign "${how[@]}" --id "$id" --input-file "$results/digest" \
            --output-file "$results/signature-$1" &>"$results/tool-log-$1" || made=''
        ended=${EPOCHREALTIME/./}
        if [[ $made ]]; then echo $((ended - began)); else echo failed; fi
    done
}

# The last one of a loop.
check_signature() {
    local how=()
    if [[ $algorithm == PS256 ]]; then
        how=(-pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32)
    fi
    openssl pkeyutl -verify -certin -inkey "$development/pki/dsc/$key.pem" "${how[@]}" \
        -in "$results/digest" -sigfile "$results/signature-$1" &>>"$results/tool-log-$1"
}

# ------------------------------------------------------------------------------------------- signerd

signerd() {
    local rate cpu
    timed "$bin/bench" --rounds 1 --seconds "$seconds" --issuer "$key"
    rate=$(found end_to_end_per_second)
    cpu=$(awk "BEGIN { printf \"%d\", $(found front_cpu_micros) + $(found workers_cpu_micros) + $(found client_cpu_micros) }")
    record signerd "$(found in_flight)" "$rate" "$(awk "BEGIN { print $rate / $(found ratio) }")" - "$cpu" \
        "batches of 2,000, each answered after $(printf '%.1f' "$(found batch_seconds)") s; judged, durable, verified"
}

main "$@"
