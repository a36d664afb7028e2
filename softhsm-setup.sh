#!/usr/bin/env bash
#
# Makes a development set-up of signerd in one directory: a SoftHSM token with keys that were generated
# inside it, the certificates around them, and the configuration files. `demo` goes on from there: it
# builds, starts the daemon, signs and verifies a sample batch, shows a certificate, stops the daemon.
#
#   ./softhsm-setup.sh [demo] [--dir DIR] [--port-base N]
#
#   --dir DIR       where it goes (default: dev, beside this script)
#   --port-base N   signing listener on N, officers on N+1, observability on N+2 (default: 8443),
#                   all on 127.0.0.1; counts when signerd.toml is written, which is once
#
# Safe to repeat: keys, certificates and configuration files that are there are kept, what is missing is
# made, revocation lists are renewed. For development only: SoftHSM keeps keys in ordinary files, and
# the private keys of every certificate authority lie beside them.

set -euo pipefail
umask 077

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
key_lacks=() # nothing: SoftHSM knows every attribute that tests/token/keygen.c asks for

readonly token_label=signerd-dev
readonly certificate_days=1096 # three years, one of them may be a leap year
readonly crl_days=730          # two years
readonly state_name="môi trường phát triển" # every certificate says that it is for development

main() {
    read_arguments "$@"
    install_missing
    set_up
    if [[ $command == demo ]]; then run_demo; fi
}

set_up() {
    enter_directory
    make_token
    make_token_keys
    make_authorities
    make_tls_certificates
    make_officer_certificates
    make_signer_certificates
    make_statement_certificates
    renew_revocation_lists
    write_configuration
    check_result
    say "set-up is in $dir"
}

say() { printf 'softhsm-setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

read_arguments() {
    command=setup dir=$root/dev port_base=8443 port_given=
    while (($#)); do
        case $1 in
        demo) command=demo ;;
        --dir) dir=${2:?--dir needs a directory}; shift ;;
        --port-base) port_base=${2:?--port-base needs a number} port_given=yes; shift ;;
        -h | --help) sed -n '3,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) die "unknown argument \"$1\"; see --help" ;;
        esac
        shift
    done
    if ! [[ $port_base =~ ^[1-9][0-9]{0,4}$ ]] || ((port_base > 65533)); then
        die "--port-base \"$port_base\": use a number from 1 to 65533"
    fi
    # The path goes into TOML strings and into softhsm2.conf as it is.
    [[ $dir != *[\"\\$'\n']* ]] || die "--dir: quotes, backslashes and line breaks cannot be used"
}

# ------------------------------------------------------------------------------------------ packages

install_missing() {
    local missing=()
    softhsm_module >/dev/null || missing+=(softhsm2)
    have pkcs11-tool || missing+=(opensc)
    have openssl || missing+=(openssl)
    # The compiler is for aws-lc-rs, for the bundled SQLite, and for the linking of any Rust program.
    { have gcc && have cc; } || missing+=(gcc)
    [[ -e /usr/include/stdlib.h ]] || missing+=(libc6-dev)
    if ((${#missing[@]})); then "$root/tests/packages.sh" "${missing[@]}"; fi
    module=$(softhsm_module) || die "libsofthsm2.so is nowhere; reinstall the package softhsm2"
    if [[ $command == demo ]]; then
        have cargo || die "cargo is missing; install the Rust toolchain that rust-version in Cargo.toml names"
    fi
}

have() { command -v "$1" >/dev/null; }

softhsm_module() {
    local path
    for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
        if [[ -e $path ]]; then echo "$path"; return; fi
    done
    return 1
}

# --------------------------------------------------------------------------------------- directories

enter_directory() {
    mkdir -p "$dir" || die "cannot make $dir"
    dir=$(cd "$dir" && pwd)
    # Two set-ups at once would each make half of the keys. The lock is on the directory itself.
    exec {lock}<"$dir"
    flock --nonblock "$lock" || die "another set-up is at work in $dir"
    cd "$dir"
    mkdir -p tokens secrets pki/dsc pki/db state
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
}

# Writes standard input to a file that is not there yet: whole, or not at all.
write_new() {
    if [[ -e $1 ]]; then cat >/dev/null; return; fi
    cat >"$1.part"
    mv "$1.part" "$1"
}

# --------------------------------------------------------------------------------------------- token

make_token() {
    openssl rand -hex 16 | tr -d '\n' | write_new secrets/so-pin
    openssl rand -hex 16 | tr -d '\n' | write_new secrets/user-pin
    prepare_module
    if ! token_report | grep -q .; then
        [[ ! -e pki/dsc/vn-moh.pem ]] ||
            die "the token \"$token_label\" is gone but its certificates are in pki/dsc; remove $dir and begin again"
        say "making the token \"$token_label\""
        with_pins --slot-index 0 --init-token --label "$token_label" --so-pin env:SO_PIN
    fi
    if ! token_report | grep -q 'PIN initialized'; then
        with_pins --token-label "$token_label" --login --login-type so --so-pin env:SO_PIN \
            --init-pin --new-pin env:USER_PIN
    fi
}

# What the module needs before it is loaded: files in the set-up, variables in the environment.
prepare_module() {
    write_new softhsm2.conf <<END
# Only this set-up's token. The daemon's workers find this file by hsm.toml.
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
slots.removable = false
END
    export SOFTHSM2_CONF=$dir/softhsm2.conf
}

# The same for the daemon's workers, as hsm.toml says it.
module_toml() {
    cat <<END
path = "$module"
environment = { SOFTHSM2_CONF = "$dir/softhsm2.conf" }
END
}

# Prints what pkcs11-tool lists of our token; nothing where there is none.
token_report() {
    pkcs11-tool --module "$module" --list-slots 2>/dev/null |
        awk -v label="$token_label" '
            /^Slot /            { mine = 0 }
            /token label/       { mine = ($0 ~ ": " label "$") }
            mine                { print }'
}

# Runs pkcs11-tool with the PINs in its environment: an argument could be read by every user of the
# machine, the environment of a process only by its own.
with_pins() {
    SO_PIN=$(<secrets/so-pin) USER_PIN=$(<secrets/user-pin) \
        quietly pkcs11-tool --module "$module" "$@"
}

# Shows what a tool printed only when it failed.
quietly() {
    if ! "$@" >"$scratch/output" 2>&1; then
        cat "$scratch/output" >&2
        die "failed: $1"
    fi
}

make_token_keys() {
    gcc -O1 -D_GNU_SOURCE -o "$scratch/keygen" "$root/tests/token/keygen.c"
    token_key rsa2048 vn-moh
    token_key p256 vn-moh-ec
    token_key p256 audit
    token_key hmac256 pseudonym
}

# The program reads the key back and fails unless it is a proper signing key, made now or earlier.
token_key() {
    local outcome
    outcome=$("$scratch/keygen" "$module" "$token_label" secrets/user-pin "$1" "$2" "${key_lacks[@]}") ||
        die "key \"$2\" is not as it has to be; remove $dir and begin again"
    say "key \"$2\" ($1) $outcome in the token"
}

token_public_key() {
    read_public_key "$1" "$scratch/$1.der"
    openssl pkey -pubin -inform DER -in "$scratch/$1.der"
}

read_public_key() {
    quietly pkcs11-tool --module "$module" --token-label "$token_label" --read-object --type pubkey \
        --label "$1" --output-file "$2"
}

# -------------------------------------------------------------------------------------- certificates

make_authorities() {
    authority csca "/C=VN/O=Ban Cơ yếu Chính phủ ($state_name)/CN=CA phục vụ các cơ quan Nhà nước"
    authority ca "/C=VN/O=Bộ Y tế ($state_name)/CN=signerd TLS CA"
    authority officer-ca "/C=VN/O=Bộ Y tế ($state_name)/CN=signerd Officer CA"
    authority facility-ca "/C=VN/O=CA công cộng ($state_name)/CN=CA tổ chức y tế"
}

make_tls_certificates() {
    local organisation="/C=VN/O=Bộ Y tế ($state_name)"
    leaf ca server p256 "$organisation/CN=localhost" \
        extendedKeyUsage=serverAuth subjectAltName=DNS:localhost,IP:127.0.0.1
    tls_client client moh-issuing
    tls_client client-other moh-other
    tls_client client-revoked moh-revoked
}

tls_client() {
    leaf ca "$1" p256 "/C=VN/O=Bộ Y tế ($state_name)/CN=$2" \
        extendedKeyUsage=clientAuth "subjectAltName=URI:urn:signerd:client:$2"
}

make_officer_certificates() {
    local number
    for number in 1 2 3; do
        leaf officer-ca "officer-$number" p256 "/C=VN/O=Bộ Y tế ($state_name)/CN=officer-$number" \
            extendedKeyUsage=clientAuth "subjectAltName=URI:urn:signerd:officer:officer-$number"
    done
}

# Signer certificates: their private keys never leave the token, so there is no request to sign; the
# public key is read from the token and put into the certificate.
make_signer_certificates() {
    signer vn-moh "CHỨNG NHẬN TIÊM CHỦNG - CỤC Y TẾ DỰ PHÒNG"
    signer vn-moh-ec "CHỨNG NHẬN TIÊM CHỦNG - CỤC Y TẾ DỰ PHÒNG (EC)"
    token_certificate audit pki/audit.pem "SIGNERD - NHẬT KÝ KIỂM TOÁN"
}

signer() { token_certificate "$1" "pki/dsc/$1.pem" "$2"; }

# token_certificate KEY FILE NAME
token_certificate() {
    local certificate=$2
    token_public_key "$1" >"$scratch/$1.pub"
    if [[ ! -e $certificate ]]; then
        issue csca "$certificate" "/C=VN/O=Bộ Y tế ($state_name)/CN=$3" \
            "-force_pubkey $scratch/$1.pub" keyUsage=critical,digitalSignature
    fi
    cmp --silent "$scratch/$1.pub" <(openssl x509 -in "$certificate" -noout -pubkey) ||
        die "$certificate is not the certificate of the token's key \"$1\"; remove $dir and begin again"
}

# The population database's gateway, and two units with organisation certificates.
make_statement_certificates() {
    private_key p256 pki/verifier.key
    if [[ ! -e pki/verifier.pem ]]; then
        self_signed verifier "/C=VN/O=Bộ Công an ($state_name)/CN=CSDLQG về dân cư" \
            basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature
    fi
    unit facility "Trung tâm Y tế Quận 1"
    unit facility-other "Trung tâm Kiểm soát bệnh tật Hà Nội"
}

unit() {
    leaf facility-ca "$1" rsa2048 "/C=VN/O=$2/CN=$2" keyUsage=critical,digitalSignature,nonRepudiation
}

authority() {
    private_key p256 "pki/$1.key"
    if [[ ! -e pki/$1.pem ]]; then
        self_signed "$1" "$2" basicConstraints=critical,CA:TRUE,pathlen:0 \
            keyUsage=critical,keyCertSign,cRLSign
    fi
}

# leaf AUTHORITY NAME KIND SUBJECT EXTENSION...
leaf() {
    local authority=$1 name=$2 kind=$3 subject=$4
    shift 4
    private_key "$kind" "pki/$name.key"
    if [[ ! -e pki/$name.pem ]]; then
        issue "$authority" "pki/$name.pem" "$subject" "-key pki/$name.key" \
            keyUsage=critical,digitalSignature "$@"
    fi
}

private_key() {
    [[ ! -e $2 ]] || return 0
    local options=(-algorithm EC -pkeyopt ec_paramgen_curve:P-256)
    if [[ $1 == rsa2048 ]]; then options=(-algorithm RSA -pkeyopt rsa_keygen_bits:2048); fi
    quietly openssl genpkey "${options[@]}" -outform PEM -out "$2.part"
    mv "$2.part" "$2"
}

# self_signed NAME SUBJECT EXTENSION...
self_signed() {
    local name=$1 subject=$2
    shift 2
    extensions "$@" subjectKeyIdentifier=hash
    quietly openssl req -new -x509 -config "$scratch/extensions" -extensions leaf -utf8 \
        -key "pki/$name.key" -subj "$subject" -set_serial "$(serial)" -sha256 \
        -days "$certificate_days" -out "pki/$name.pem.part"
    mv "pki/$name.pem.part" "pki/$name.pem"
}

# issue AUTHORITY FILE SUBJECT WHOSE-KEY EXTENSION...; of one extension given twice the later one counts.
issue() {
    local authority=$1 file=$2 subject=$3
    local -a whose_key
    IFS=' ' read -r -a whose_key <<<"$4"
    shift 4
    extensions basicConstraints=critical,CA:FALSE "$@" \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid:always
    quietly openssl req -new -config "$scratch/extensions" -utf8 -subj "$subject" \
        -key "pki/$authority.key" -out "$scratch/request"
    if [[ ${whose_key[0]} == -key ]]; then
        openssl pkey -in "${whose_key[1]}" -pubout -out "$scratch/public"
        whose_key=(-force_pubkey "$scratch/public")
    fi
    quietly openssl x509 -req -in "$scratch/request" "${whose_key[@]}" -sha256 \
        -CA "pki/$authority.pem" -CAkey "pki/$authority.key" -set_serial "$(serial)" \
        -days "$certificate_days" -extfile "$scratch/extensions" -extensions leaf -out "$file.part"
    mv "$file.part" "$file"
}

# Sixteen random bytes, positive: the first one is below 0x80 and not 0.
serial() { printf '0x%x%s' $((RANDOM % 127 + 1)) "$(openssl rand -hex 15)"; }

extensions() {
    {
        printf '[req]\nprompt = no\ndistinguished_name = subject\nstring_mask = utf8only\n[subject]\n[leaf]\n'
        printf '%s\n' "$@"
    } >"$scratch/extensions"
}

# --------------------------------------------------------------------------------- revocation lists

renew_revocation_lists() {
    revocation_list ca crl client-revoked
    revocation_list officer-ca officer-crl
    revocation_list facility-ca facility-crl
}

# revocation_list AUTHORITY FILE [CERTIFICATE]: what was revoked earlier, by whomever, stays revoked.
# To revoke another one: openssl ca -config pki/db/AUTHORITY/openssl.cnf -revoke FILE, then run this again.
revocation_list() {
    local authority=$1 file=pki/$2.pem revoked=${3:-}
    local db=pki/db/$authority
    mkdir -p "$db"
    write_new "$db/index.txt" </dev/null
    write_new "$db/crlnumber" <<<01
    write_new "$db/openssl.cnf" <<END
[ca]
default_ca = default
[default]
database = $dir/$db/index.txt
crlnumber = $dir/$db/crlnumber
certificate = $dir/pki/$authority.pem
private_key = $dir/pki/$authority.key
new_certs_dir = $dir/$db
default_md = sha256
default_crl_days = $crl_days
unique_subject = no
crl_extensions = crl
policy = any
[any]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid:always
END
    if [[ -n $revoked ]] && ! revoked_already "$db" "pki/$revoked.pem"; then
        quietly openssl ca -config "$db/openssl.cnf" -revoke "pki/$revoked.pem"
    fi
    quietly openssl ca -config "$db/openssl.cnf" -gencrl -out "$file.part"
    mv "$file.part" "$file"
}

revoked_already() {
    local number
    number=$(openssl x509 -in "$2" -noout -serial)
    awk -F '\t' -v number="${number#serial=}" '$1 == "R" && $4 == number { found = 1 } END { exit !found }' \
        "$1/index.txt"
}

# ------------------------------------------------------------------------------------- configuration

write_configuration() {
    if [[ -n $port_given && -e signerd.toml ]] && ! grep -q "127.0.0.1:$port_base\"" signerd.toml; then
        say "signerd.toml is kept with the ports it has; remove it to have it written for port $port_base"
    fi
    signerd_toml | write_new signerd.toml
    hsm_toml | write_new hsm.toml
    policy_toml | write_new policy.toml
    signerctl_toml | write_new signerctl.toml
}

signerd_toml() {
    cat <<END
version = 1
policy = "policy.toml"
hsm = "hsm.toml"

[signing]
listen = "127.0.0.1:$port_base"
certificate = "pki/server.pem"
key = "pki/server.key"
client_ca = "pki/ca.pem"
client_crl = "pki/crl.pem"

[officer]
listen = "127.0.0.1:$((port_base + 1))"
client_ca = "pki/officer-ca.pem"
client_crl = "pki/officer-crl.pem"

[observability]
listen = "127.0.0.1:$((port_base + 2))"

[ledger]
path = "state/ledger.sqlite"
retention_days = 7

[log]
origin = "signerd.example/development"
checkpoint = "state/checkpoint" # in production a folder that another machine takes it from

[clock]
require_synchronised = false # a development machine may run without NTP

[rate]
# Generous, so that it never shapes a benchmark.
doses_per_second = 100000
burst = 100000

[[client]]
id = "moh-issuing"
san_uri = "urn:signerd:client:moh-issuing"

[[client]]
id = "moh-other" # a good certificate, and no issuer
san_uri = "urn:signerd:client:moh-other"

[[client]]
id = "moh-revoked" # its certificate is revoked in pki/crl.pem
san_uri = "urn:signerd:client:moh-revoked"
END
}

hsm_toml() {
    local serial
    serial=$(token_report | sed -n 's/^ *serial num *: *//p')
    cat <<END
version = 1

[module]
$(module_toml)

[token]
label = "$token_label"
serial = "$serial"

[pin]
file = "secrets/user-pin"

[pool]
workers = $(worker_count) # one process per core: SoftHSM scales with processes, not with threads
sessions = 1
copy_keys = true # SoftHSM's keys are CKA_COPYABLE where nobody said otherwise, and it signs faster with copies
call_deadline_ms = 5000
request_deadline_ms = 10000
queue_max = 256
pin_latch = "state/pin-latch"
sockets = []

[key.vn-moh]
label = "vn-moh"
algorithm = "PS256"
certificate = "pki/dsc/vn-moh.pem"

[key.vn-moh-ec]
label = "vn-moh-ec"
algorithm = "ES256"
certificate = "pki/dsc/vn-moh-ec.pem"

[key.audit]
label = "audit"
algorithm = "ES256"
certificate = "pki/audit.pem"

[secret]
label = "pseudonym"
END
}

worker_count() {
    local cores
    cores=$(nproc)
    echo $((cores > 8 ? 8 : cores))
}

policy_toml() {
    printf 'version = 1\nvalue_sets = ["qd-5772", "eu-2.12.0"]\n\n'
    issuer_rules vn-moh
    issuer_rules vn-moh-ec
    cat <<'END'
[[verifier]]
certificate = "pki/verifier.pem"

[facility_trust]
ca = ["pki/facility-ca.pem"]
crl = ["pki/facility-crl.pem"]

[[facility]]
id = "79-TTYT-Q1"
name = "Trung tâm Y tế Quận 1"
areas = ["79"]
END
    registered_certificate facility
    cat <<'END'
[[facility]]
id = "01-CDC-HN"
name = "Trung tâm Kiểm soát bệnh tật Hà Nội"
areas = ["01"]
END
    registered_certificate facility-other
    cat <<'END'
# Two units that sign nothing themselves: one is managed by a unit that does, one delegated to such.
[[facility]]
id = "79-TYT-P-BN"
name = "Trạm Y tế phường Bến Nghé"
areas = ["79"]
managed_by = "79-TTYT-Q1"

[[facility]]
id = "01-TYT-P-TB"
name = "Trạm Y tế phường Trúc Bạch"
areas = ["01"]
delegates = ["01-CDC-HN"]
END
}

issuer_rules() {
    cat <<END
[issuer.$1]
clients = ["moh-issuing"]
key = "$1"
iss = "VN"
issuing_body = "Bộ Y tế Việt Nam"
records_max = 1000
doses_per_record_max = 3
certificates = "each_dose"
validity_months = 12
assurance = "statement"
statement_age_days_max = 90
facility_signature = "required"
code_combinations = "strict"
id_check = "format"

END
}

registered_certificate() {
    local certificate=pki/$1.pem issuer number digest _
    issuer=$(openssl x509 -in "$certificate" -noout -issuer -nameopt RFC2253,-esc_msb,utf8)
    number=$(openssl x509 -in "$certificate" -noout -serial)
    openssl x509 -in "$certificate" -outform DER -out "$scratch/registered.der"
    read -r digest _ < <(openssl dgst -sha256 -r "$scratch/registered.der")
    cat <<END
[[facility.certificate]]
issuer = "${issuer#issuer=}"
serial = "${number#serial=}"
sha256 = "$digest"
der = "$(openssl base64 -A -in "$scratch/registered.der")"

END
}

signerctl_toml() {
    cat <<END
server = "https://127.0.0.1:$port_base"
server_name = "localhost"
ca = "pki/ca.pem"
certificate = "pki/client.pem"
key = "pki/client.key"
issuer = "vn-moh"

[officer] # as whom "signerctl window" calls
server = "https://127.0.0.1:$((port_base + 1))"
certificate = "pki/officer-1.pem"
key = "pki/officer-1.key"

[sample] # the keys that sign the statements inside sample records
verifier_certificate = "pki/verifier.pem"
verifier_key = "pki/verifier.key"
facility_certificate = "pki/facility.pem"
facility_key = "pki/facility.key"
facility = "79-TTYT-Q1"
END
}

# --------------------------------------------------------------------------------------------- check

# Certificates against their authorities and lists, so that a damaged set-up is named here and now.
check_result() {
    verify csca pki/dsc/vn-moh.pem pki/dsc/vn-moh-ec.pem
    verify ca -crl_check -CRLfile pki/crl.pem pki/server.pem pki/client.pem pki/client-other.pem
    verify officer-ca -crl_check -CRLfile pki/officer-crl.pem pki/officer-{1,2,3}.pem
    verify facility-ca -crl_check -CRLfile pki/facility-crl.pem pki/facility.pem pki/facility-other.pem
    verify verifier pki/verifier.pem
    if openssl verify -CAfile pki/ca.pem -crl_check -CRLfile pki/crl.pem pki/client-revoked.pem &>/dev/null; then
        die "pki/client-revoked.pem is not revoked in pki/crl.pem"
    fi
    local serial
    serial=$(token_report | sed -n 's/^ *serial num *: *//p')
    grep -q "^serial = \"$serial\"" hsm.toml ||
        die "hsm.toml names another token than the one in tokens/; its serial is \"$serial\""
}

verify() { quietly openssl verify -CAfile "pki/$1.pem" "${@:2}"; }

# ---------------------------------------------------------------------------------------------- demo

run_demo() {
    (cd "$root" && cargo build --release --locked)
    mkdir -p out
    # A dose is certified once; new people each time let the demo run again on the same ledger.
    local seed
    seed=$(date +%s)
    rm -f out/*.png out/records.jsonl out/certificates.jsonl* out/trust-list.json
    start_daemon
    signerctl sample --count 20 --seed "$seed" --output out/records.jsonl
    signerctl sign out/records.jsonl --issuer vn-moh --output out/certificates.jsonl
    signerctl trust-list --json --output out/trust-list.json
    draw_certificates
    signerctl verify out/certificates.jsonl --trust-list out/trust-list.json >out/verification.txt ||
        die "not every certificate is valid; see $dir/out/verification.txt"
    say "$(grep -c ^VALID out/verification.txt) certificates verify against the trust list"
    show_certificate
    stop_daemon
    say "$(find out -name '*.png' | wc -l) certificates are drawn in $dir/out"
}

signerctl() { "$target/release/signerctl" --config "$dir/signerctl.toml" "$@"; }

start_daemon() {
    say "starting the daemon, its messages go to $dir/out/signerd.log"
    "$target/release/signerd" serve --config "$dir/signerd.toml" &>out/signerd.log {lock}<&- &
    daemon=$!
    trap 'kill "$daemon" 2>/dev/null; wait "$daemon" || true; rm -rf "$scratch"' EXIT
    local port try
    port=$(sed -n '/^\[observability\]/,/^listen/s/^listen = ".*:\([0-9]*\)".*/\1/p' signerd.toml)
    for ((try = 0; try < 300; try++)); do
        if ready "$port"; then return; fi
        if ! kill -0 "$daemon" 2>/dev/null; then break; fi
        sleep 0.2
    done
    tail -n 20 out/signerd.log >&2
    die "the daemon is not ready; its last lines are above"
}

# Asks by bash itself: a fresh machine has no HTTP client.
ready() {
    local status
    { exec {connection}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&"$connection"
    read -r -t 5 status <&"$connection" || status=
    exec {connection}>&-
    [[ $status == *" 200 "* ]]
}

stop_daemon() {
    kill -TERM "$daemon"
    wait "$daemon" || die "the daemon ended with exit code $?; see $dir/out/signerd.log"
    trap 'rm -rf "$scratch"' EXIT
}

certificate_texts() { sed -n 's/.*"hcert": *"\([^"]*\)".*/\1/p' out/certificates.jsonl; }

draw_certificates() {
    local text number=0
    while IFS= read -r text; do
        number=$((number + 1))
        signerctl qr "$text" --output "$(printf 'out/certificate-%02d.png' "$number")"
    done < <(certificate_texts)
    ((number > 0)) || die "no certificate came back; see out/certificates.jsonl"
}

show_certificate() {
    local text
    text=$(certificate_texts | sed -n 1p)
    signerctl qr "$text"
    signerctl inspect "$text"
}

# tests/token/modules.sh reads these functions and replaces what another module wants to have otherwise.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
