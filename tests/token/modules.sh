#!/usr/bin/env bash
#
# Makes the development set-up of softhsm-setup.sh with its keys in another PKCS#11 module.
#
#   tests/token/modules.sh MODULE [DIR [--port-base N]]
#
#   softhsm    SoftHSM 2, as softhsm-setup.sh makes it
#   kryoptic   a token in Rust; built once from crates.io, in target/modules
#   nss        NSS softokn, which wants a string at its initialisation: p11-kit's proxy hands it over
#   p11kit     SoftHSM behind p11-kit's server, in a process of its own
#
# Without DIR it only gets the module. Beside the files of softhsm-setup.sh there may be two programs in
# DIR: "with-module COMMAND..." runs the daemon as the module wants it, "serve-module" is the module's own
# server, which has to run before the daemon and as long.
#
# Safe to repeat, as softhsm-setup.sh is. Exit code 77, after a line with SKIPPED and the reason, where
# the module cannot be had here.

set -euo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=softhsm-setup.sh
source "$here/../../softhsm-setup.sh"

readonly kryoptic_version=1.5.4

main() {
    use=${1-}
    [[ $use =~ ^(softhsm|kryoptic|nss|p11kit)$ ]] || die "which module? see the head of this script"
    shift
    read_arguments ${1+--dir "$@"}
    install_missing
    "get_$use"
    if (($# == 0)); then return; fi
    if [[ $use == nss ]]; then leave_root "$use" "$@"; fi
    use_functions_of "$use"
    set_up
    write_programs
    printf 'modules: set-up with %s is in %s\n' "$use" "$dir" >&2
}

# Puts the functions that a module has of its own in the place of SoftHSM's.
use_functions_of() {
    local name
    for name in prepare_module module_toml read_public_key write_programs; do
        if declare -F "$1_$name" >/dev/null; then eval "$name() { $1_$name \"\$@\"; }"; fi
    done
}

write_programs() { :; }

# Writes standard input as a program of the set-up.
program() {
    { printf '#!/usr/bin/env bash\n'; cat; } | write_new "$1"
    chmod 0700 "$1"
}

# Quiet, unless something is wrong.
say() { :; }
die() { printf 'modules: %s\n' "$*" >&2; exit 1; }
skip() { printf 'SKIPPED: %s: %s\n' "$use" "$*" >&2; exit 77; }

# install PACKAGE...
install() {
    local report
    report=$("$root/tests/packages.sh" "$@" 2>&1) || skip "${report##*$'\n'}"
}

first_of() {
    local path
    for path; do if [[ -e $path ]]; then echo "$path"; return; fi; done
    return 1
}

# ----------------------------------------------------------------------------------------- softhsm

get_softhsm() { :; }

# ---------------------------------------------------------------------------------------- kryoptic

get_kryoptic() {
    local store=$target/modules missing=()
    module=$store/libkryoptic_pkcs11-$kryoptic_version.so
    if [[ -e $module ]]; then return; fi
    have cargo || skip "cargo is missing, which builds it"
    have pkg-config || missing+=(pkg-config)
    [[ -e /usr/include/sqlite3.h ]] || missing+=(libsqlite3-dev)
    [[ -e /usr/include/openssl/evp.h ]] || missing+=(libssl-dev)
    first_of /usr/lib/llvm-*/lib/libclang.so >/dev/null || missing+=(libclang-dev)
    if ((${#missing[@]})); then install "${missing[@]}"; fi
    mkdir -p "$store"
    # One build at a time, and the next one finds it done.
    exec {build}<"$store"
    flock "$build"
    [[ -e $module ]] || build_kryoptic "$store" &>"$store/log" || skip "it does not build; see $store/log"
    exec {build}<&-
}

# A library for C alone can be no dependency of Rust and has no program to install. So cargo fetches it
# as if it were one, and then builds the copy with the lock file that its authors publish.
build_kryoptic() {
    local store=$1 sources=$1/kryoptic-$kryoptic_version manifest
    mkdir -p "$store/fetch/src"
    touch "$store/fetch/src/lib.rs"
    cat >"$store/fetch/Cargo.toml" <<END
[package]
name = "fetch"
edition = "2024"
[dependencies]
kryoptic = { version = "=$kryoptic_version", default-features = false }
[workspace]
END
    manifest=$(cargo metadata --format-version 1 --manifest-path "$store/fetch/Cargo.toml" |
        grep -o "\"manifest_path\":\"[^\"]*/kryoptic-$kryoptic_version/Cargo.toml\"" | cut -d '"' -f 4) || return 1
    rm -rf "$sources"
    cp -r "${manifest%/Cargo.toml}/" "$sources" || return 1
    # The default features want an OpenSSL that is newer than Debian's.
    cargo build --release --locked --lib --manifest-path "$sources/Cargo.toml" --target-dir "$store/build" \
        --no-default-features --features minimal,kryoptic-lib/dynamic || return 1
    mv "$store/build/release/libkryoptic_pkcs11.so" "$module" || return 1
    rm -rf "$sources" "$store/fetch" "$store/build"
}

kryoptic_prepare_module() {
    write_new kryoptic.conf <<END
[[slots]]
slot = 1
dbtype = "sqlite"
dbargs = "$dir/tokens/kryoptic.sqlite"
END
    export KRYOPTIC_CONF=$dir/kryoptic.conf
}

kryoptic_module_toml() {
    cat <<END
path = "$module"
environment = { KRYOPTIC_CONF = "$dir/kryoptic.conf" }
END
}

# pkcs11-tool of OpenSC 0.23 shows the points of this module's EC keys but cannot read the keys. In DER a
# key of P-256 is its point behind bytes that are always the same.
kryoptic_read_public_key() {
    local point
    point=$(pkcs11-tool --module "$module" --token-label "$token_label" --list-objects --type pubkey 2>/dev/null |
        awk -v label="$1" '/^Public Key/ { point = "" } $1 == "EC_POINT:" { point = $2 } $1 == "label:" && $2 == label { print point }')
    if [[ -n $point ]]; then
        printf '%b' "$(fold -w 2 <<<"3059301306072a8648ce3d020106082a8648ce3d030107034200${point#0441}" |
            sed 's/^/\\x/' | tr -d '\n')" >"$2"
    else
        quietly pkcs11-tool --module "$module" --token-label "$token_label" --read-object --type pubkey \
            --label "$1" --output-file "$2"
    fi
}

# --------------------------------------------------------------------------------------------- nss

get_nss() {
    have certutil || install libnss3-tools
    first_of /usr/lib/*/p11-kit-proxy.so >/dev/null || install libp11-kit0
    module=$(first_of /usr/lib/*/p11-kit-proxy.so) || skip "p11-kit-proxy.so is nowhere"
    softokn=$(first_of /usr/lib/*/libsoftokn3.so /usr/lib/*/nss/libsoftokn3.so) || skip "libsoftokn3.so is nowhere"
    # It knows no mechanism of a key, and says that keys it made came from outside.
    key_lacks=(mechanisms origin)
}

# p11-kit reads the configuration of a user for everybody but root. A user namespace makes root another
# user who owns root's files, so nothing is written outside of the set-up.
as_user=(unshare --user --map-user=1000 --map-group=1000)

leave_root() {
    ((EUID == 0)) || return 0
    "${as_user[@]}" true 2>/dev/null || skip "root cannot use it, and there are no user namespaces to be another user in"
    exec "${as_user[@]}" "${BASH_SOURCE[0]}" "$@"
}

nss_prepare_module() {
    # Every use of a key derives another one from the PIN; a token for tests does it with one iteration.
    export NSS_MAX_MP_PBE_ITERATION_COUNT=1 XDG_CONFIG_HOME=$dir/p11-kit
    if [[ ! -e tokens/nss/key4.db ]]; then
        mkdir -p tokens/nss
        quietly certutil -N -d "sql:$dir/tokens/nss" -f secrets/user-pin
    fi
    mkdir -p p11-kit/pkcs11/modules
    write_new p11-kit/pkcs11/pkcs11.conf <<<'user-config: only'
    write_new p11-kit/pkcs11/modules/nss.module <<END
module: $softokn
x-init-reserved: configdir='sql:$dir/tokens/nss' certPrefix='' keyPrefix='' secmod='secmod.db' dbTokenDescription='$token_label' flags=
END
}

nss_module_toml() {
    cat <<END
path = "$module"
environment = { XDG_CONFIG_HOME = "$dir/p11-kit", NSS_MAX_MP_PBE_ITERATION_COUNT = "1" }
END
}

nss_write_programs() {
    program with-module <<END
# p11-kit does not read the configuration of root.
if [[ \$(id -u) == 0 ]]; then exec ${as_user[*]} "\$@"; fi
exec "\$@"
END
}

# ------------------------------------------------------------------------------------------ p11kit

get_p11kit() {
    { have p11-kit && first_of /usr/libexec/p11-kit/p11-kit-server >/dev/null; } || install p11-kit
    client=$(first_of /usr/lib/*/pkcs11/p11-kit-client.so) || install p11-kit-modules
    client=$(first_of /usr/lib/*/pkcs11/p11-kit-client.so) || skip "p11-kit-client.so is nowhere"
}

# The set-up itself speaks to SoftHSM; only the workers go through the server.
p11kit_module_toml() {
    cat <<END
path = "$client"
environment = { P11_KIT_SERVER_ADDRESS = "unix:path=$dir/p11-kit.sock" }
END
}

p11kit_write_programs() {
    program serve-module <<END
# In the foreground; it forks a process for each worker. A socket that is left from before is in its way.
rm -f "$dir/p11-kit.sock"
SOFTHSM2_CONF="$dir/softhsm2.conf" exec p11-kit server --foreground --name "$dir/p11-kit.sock" \\
    --provider "$module" "pkcs11:token=$token_label"
END
}

main "$@"
