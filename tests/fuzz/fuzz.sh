#!/usr/bin/env bash
#
# Builds the fuzz targets with coverage, on the stable compiler, and runs one of them.
#
#   tests/fuzz/fuzz.sh TARGET [ARGUMENT]...   ARGUMENTs are libFuzzer's: options, or files to repeat
#   tests/fuzz/fuzz.sh --build                builds all targets and runs none
#   tests/fuzz/fuzz.sh --list                 names the targets
#
# What is found lies in target/fuzz/artifacts/TARGET, inputs that reach new code in target/fuzz/corpus/TARGET.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# What a run may use; libFuzzer ends it beyond, and keeps the input.
readonly input_seconds_max=10 memory_mib_max=2048 input_bytes_max=16384

main() {
    case ${1-} in
    --list) list ;;
    --build) build ;;
    -h | --help | '') sed -n '3,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
    *)
        [[ -e tests/fuzz/fuzz_targets/$1.rs ]] || { echo "there is no fuzz target \"$1\"; see --list" >&2; exit 1; }
        build
        run "$@"
        ;;
    esac
}

list() { basename --multiple --suffix=.rs tests/fuzz/fuzz_targets/*.rs; }

host() { rustc --version --verbose | sed -n 's/^host: //p'; }

# The flags are those that cargo-fuzz gives, as far as the stable compiler knows them. With --target they
# count for the programs alone and not for build scripts.
build() {
    local flags=(
        --cfg fuzzing
        -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
        -Cllvm-args=-simplifycfg-branch-fold-threshold=0
    )
    RUSTFLAGS="${flags[*]}" cargo build --quiet --locked --package signerd-fuzz --features libfuzzer --bins \
        --profile fuzz --target "$(host)" --target-dir target/fuzz
}

run() {
    local target=$1 options corpora=() argument dictionary
    shift
    mkdir -p "target/fuzz/artifacts/$target" "target/fuzz/corpus/$target"
    options=("-artifact_prefix=target/fuzz/artifacts/$target/" "-timeout=$input_seconds_max"
        "-rss_limit_mb=$memory_mib_max" "-max_len=$input_bytes_max")
    dictionary=tests/fuzz/dictionaries/$target.dict
    if [[ -e $dictionary ]]; then options+=("-dict=$dictionary"); fi
    # Who names files or folders means those; otherwise the committed seeds, and what earlier runs found.
    corpora=("target/fuzz/corpus/$target" "tests/fuzz/corpus/$target")
    for argument in "$@"; do if [[ $argument != -* ]]; then corpora=(); fi; done
    exec "target/fuzz/$(host)/fuzz/$target" "${options[@]}" "$@" "${corpora[@]}"
}

main "$@"
