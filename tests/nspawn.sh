#!/usr/bin/env bash
#
# Signs certificates under a real systemd: boots a Debian 12 in a container, installs the units, the
# users, the example configuration and the binaries of the debug build as docs/operations.md says, and
# then takes workers, front, PIN and clock away from it and looks whether it heals as promised.
#
#   tests/nspawn.sh
#
# Needs root. The Debian is made once by debootstrap and kept in /var/tmp/signerd-nspawn, or in the
# folder that SIGNERD_NSPAWN names.

set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
debug=${CARGO_TARGET_DIR:-$root/target}/debug
store=${SIGNERD_NSPAWN:-/var/tmp/signerd-nspawn}
work=''
machine=''
leader=''

main() {
    ((EUID == 0)) || die "needs root, for the container"
    trap clean_up EXIT
    install_missing
    make_debian
    make_machine
    install_signerd
    boot
    prepare_inside
    start_signerd

    step "the clock is not synchronised: not ready, and it says so" not_ready "clock: "
    inside mkdir -p /run/systemd/timesync
    inside touch /run/systemd/timesync/synchronized
    step "synchronised: ready" ready
    step "users" users
    step "a round of signing" sign first
    step "threads that judge and pack step back in the sandbox, too" step_back
    step "an officer sees the windows" windows
    step "a worker is killed: the front gets another one" worker_killed
    step "the front restarts: callers wait, workers stay" front_restarted
    step "a wrong PIN is tried once, and never by a restart" wrong_pin
    step "the PIN is mended and the latch cleared: ready by itself" pin_mended
    step "a round of signing" sign last
    step "both stop cleanly" stopped
    echo "passed in $SECONDS s"
}

say() { printf 'nspawn: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
inside() { nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup -- "$@"; }

step() {
    say "$1"
    "${@:2}" || { inside journalctl --no-pager --lines 40 --unit='signerd*' >&2; die "failed: $1"; }
}

clean_up() {
    if [[ -n $machine ]] && kill -0 "$machine" 2>/dev/null; then
        kill -KILL "$leader" 2>/dev/null || kill -KILL "$machine"
        wait "$machine" || true
    fi
    if [[ -n $work ]]; then
        umount "$work/root" 2>/dev/null || true
        rm -rf "$work"
    fi
}

# ------------------------------------------------------------------------------------------ machine

install_missing() {
    local missing=()
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
    if ((${#missing[@]})); then "$root/tests/packages.sh" "${missing[@]}"; fi
    [[ -x $debug/signerd && -x $debug/signerctl ]] || die "first: cargo build --workspace --bins"
}

make_debian() {
    if [[ -e $store/made ]]; then return; fi
    say "making a Debian in $store"
    rm -rf "$store/debian"
    mkdir -p "$store"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,softhsm2,opensc bookworm \
        "$store/debian" >"$store/log" 2>&1 || die "debootstrap failed; see $store/log"
    touch "$store/made"
}

# The Debian itself is never written to.
make_machine() {
    work=$(mktemp -d)
    mkdir "$work/upper" "$work/overlay" "$work/root"
    chmod 0755 "$work/upper"
    mount -t overlay overlay "$work/root" \
        -o "lowerdir=$store/debian,upperdir=$work/upper,workdir=$work/overlay"
}

# ------------------------------------------------------------------------------------- installation

install_signerd() {
    "$root/softhsm-setup.sh" --dir "$work/dev" 2>/dev/null
    local to=$work/root
    install -D --target-directory "$to/usr/sbin" "$debug/signerd"
    install -D --target-directory "$to/usr/bin" "$debug/signerctl"
    local units=$to/usr/lib/systemd/system
    install -D --mode=0644 --target-directory "$units" "$root"/systemd/*.service "$root"/systemd/*.socket
    install -D --mode=0644 --target-directory "$to/usr/lib/sysusers.d" "$root/systemd/sysusers.d/signerd.conf"
    install -D --mode=0644 --target-directory "$to/usr/lib/tmpfiles.d" "$root/systemd/tmpfiles.d/signerd.conf"
    install -D --mode=0644 --target-directory "$to/etc/systemd/system/signerd-hsm@.service.d" \
        "$root/systemd/hsm/softhsm.conf"
    install_configuration "$to/etc/signerd"
    install_token "$to"
    echo "127.0.0.1 localhost" >"$to/etc/hosts"
    "$debug/signerctl" --config "$work/dev/signerctl.toml" sample --count 20 --seed 1 \
        --output "$to/srv/first.jsonl"
    "$debug/signerctl" --config "$work/dev/signerctl.toml" sample --count 20 --seed 2 \
        --output "$to/srv/last.jsonl"
}

# The examples as they are shipped, with what an operator fills in.
install_configuration() {
    local pki=$work/dev/pki serial
    install -D --mode=0644 --target-directory "$1" "$root"/systemd/examples/*.toml
    serial=$(sed -n 's/^serial = //p' "$work/dev/hsm.toml")
    sed -i "s/^label = \"signerd\"/label = \"signerd-dev\"/; s/^serial = \"0*\"/serial = $serial/" "$1/hsm.toml"
    sed -i 's/signerd\.example/localhost/' "$1/signerctl.toml"
    sed -n '/^\[\[facility\]\]/,$p' "$work/dev/policy.toml" >>"$1/policy.toml"
    install -D --mode=0644 "$pki/dsc/vn-moh.pem" "$1/dsc/vn-moh.pem"
    install -D --mode=0644 "$pki/audit.pem" "$1/audit.pem"
    install -D --mode=0644 "$pki/verifier.pem" "$1/verifiers/population.pem"
    install -D --mode=0644 "$pki/facility-ca.pem" "$1/facilities/ca.pem"
    install -D --mode=0644 "$pki/facility-crl.pem" "$1/facilities/crl.pem"
    install -D --mode=0644 "$pki/server.pem" "$1/tls/server.pem"
    install -D --mode=0600 "$pki/server.key" "$1/tls/server.key"
    install -D --mode=0644 "$pki/ca.pem" "$1/tls/clients-ca.pem"
    install -D --mode=0644 "$pki/crl.pem" "$1/tls/clients-crl.pem"
    install -D --mode=0644 "$pki/officer-ca.pem" "$1/tls/officers-ca.pem"
    install -D --mode=0644 "$pki/officer-crl.pem" "$1/tls/officers-crl.pem"
    install -D --mode=0600 "$pki/officer-1.pem" "$1/officer.pem"
    install -D --mode=0600 "$pki/officer-1.key" "$1/officer.key"
    sed -i '/^# \[officer\]/,$s/^# //' "$1/signerctl.toml"
    install -D --mode=0644 "$pki/ca.pem" "$1/ca.pem"
    install -D --mode=0600 "$pki/client.pem" "$1/client.pem"
    install -D --mode=0600 "$pki/client.key" "$1/client.key"
}

install_token() {
    mkdir -p "$1/var/lib/signerd-hsm"
    cp -r "$work/dev/tokens" "$1/var/lib/signerd-hsm/tokens"
    printf 'directories.tokendir = /var/lib/signerd-hsm/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
        >"$1/etc/signerd/softhsm2.conf"
}

boot() {
    # landlock and memory locks: the container must not forbid what the units are about.
    systemd-nspawn --quiet --directory="$work/root" --register=no --keep-unit --boot --private-network \
        --console=pipe --machine=signerd-test \
        --system-call-filter='@memlock landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
        </dev/null >"$work/console" 2>&1 &
    machine=$!
    : >"$work/state"
    local try
    for ((try = 0; try < 300; try++)); do
        leader=$(pgrep --parent "$machine" --oldest || true)
        if [[ -n $leader ]] && inside systemctl is-system-running &>"$work/state"; then return; fi
        # A minimal Debian has units that fail in a container; they are not ours.
        if [[ $(<"$work/state") == degraded ]]; then return; fi
        sleep 0.1
    done
    tail "$work/console" >&2
    die "the container did not boot"
}

prepare_inside() {
    inside systemd-sysusers
    inside systemd-tmpfiles --create
    inside chown -R signerd-hsm: /var/lib/signerd-hsm
    give_pin "$(<"$work/dev/secrets/user-pin")"
}

give_pin() {
    inside rm -f /etc/signerd/credentials/user-pin.cred
    printf %s "$1" | inside systemd-creds encrypt --quiet --name=user-pin --with-key=host \
        - /etc/signerd/credentials/user-pin.cred 2>/dev/null
}

start_signerd() {
    inside systemctl enable --now --quiet signerd-hsm@1.socket signerd-hsm@2.socket
    inside systemd-run --quiet --wait --collect --pipe --uid=signerd \
        --property=LoadCredential=tls-key:/etc/signerd/tls/server.key \
        signerd check --config /etc/signerd/signerd.toml
    inside systemctl enable --now --quiet signerd.socket signerd-officer.socket \
        signerd-observability.socket signerd.service
}

# ----------------------------------------------------------------------------------------- questions

readiness() {
    inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/8445 &&
        printf "GET /readyz HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n" >&3 && cat <&3' || true
}

# Waits until /readyz says that; signerd is given a minute for everything.
readyz_says() {
    local try
    for ((try = 0; try < 300; try++)); do
        if grep --quiet --fixed-strings -e "$1" <<<"$(readiness)"; then return; fi
        sleep 0.2
    done
    readiness >&2
    return 1
}

ready() { readyz_says ' 200 OK'; }
not_ready() { readyz_says "$1" && [[ $(readiness) == *' 503 '* ]]; }

worker_pid() { inside systemctl show --property=MainPID --value "signerd-hsm@$1.service"; }

users() {
    local front
    # Ready is who has one worker; the second one logs in after the first.
    await "a second worker" both_workers || return
    front=$(inside systemctl show --property=MainPID --value signerd.service)
    [[ $(inside stat --format=%U "/proc/$front") == signerd ]] &&
        [[ $(inside stat --format=%U "/proc/$(worker_pid 1)") == signerd-hsm ]] &&
        [[ $(inside stat --format=%U "/proc/$(worker_pid 2)") == signerd-hsm ]]
}

both_workers() { [[ $(worker_pid 1) != 0 && $(worker_pid 2) != 0 ]]; }

sign() {
    inside signerctl sign "/srv/$1.jsonl" --output "/srv/$1.out" --quiet &&
        inside signerctl trust-list --json --output /srv/trust-list.json &&
        inside signerctl verify "/srv/$1.out" --trust-list /srv/trust-list.json >/dev/null
}

# Field 19 of stat(5) is how nice a thread is.
step_back() {
    local front
    front=$(inside systemctl show --property=MainPID --value signerd.service)
    [[ $(inside bash -c "cat /proc/$front/task/*/stat" | awk '$2 == "(certify)" { print $19 }' | sort -u) == 5 ]]
}

# Through the socket that systemd passes for the officers. Which hours there are is the example's matter.
windows() { inside signerctl window show --issuer vn-moh | grep --quiet '^vn-moh '; }

worker_killed() {
    local before
    before=$(worker_pid 1)
    inside systemctl kill --signal=KILL signerd-hsm@1.service
    await "a new worker" new_worker "$before" && ready
}

new_worker() { local now; now=$(worker_pid 1); [[ $now != 0 && $now != "$1" ]]; }

front_restarted() {
    local before
    before=$(worker_pid 1)
    inside systemctl restart signerd.service
    # No waiting here: the connection stands in the backlog of systemd's socket.
    inside signerctl trust-list --retries 0 >/dev/null && ready && [[ $(worker_pid 1) == "$before" ]]
}

wrong_pin() {
    give_pin 000000
    inside systemctl stop 'signerd-hsm@*.service'
    not_ready "clear-pin-latch" || return
    inside systemctl restart signerd.service
    not_ready "clear-pin-latch" && tried_once
}

# Did the token see the wrong PIN once, whatever was restarted?
tried_once() {
    local refusals
    refusals=$(inside journalctl --no-pager --unit='signerd-hsm@*' --grep=PinIncorrect --output=cat | wc -l)
    ((refusals == 1)) || { say "the PIN was tried $refusals times"; return 1; }
}

pin_mended() {
    give_pin "$(<"$work/dev/secrets/user-pin")"
    inside signerd hsm clear-pin-latch && ready && await "a second worker" both_workers && tried_once
}

stopped() {
    inside systemctl stop signerd.service 'signerd-hsm@*.service'
    [[ $(inside systemctl show --property=Result --value signerd.service) == success ]] &&
        [[ $(inside systemctl show --property=Result --value signerd-hsm@1.service) == success ]]
}

await() {
    local try
    for ((try = 0; try < 300; try++)); do
        if "${@:2}"; then return; fi
        sleep 0.2
    done
    say "never came: $1"
    return 1
}

main "$@"
