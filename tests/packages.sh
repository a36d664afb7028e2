#!/usr/bin/env bash
#
# Installs Debian packages: tests/packages.sh NAME...
#
# Only as root or by a sudo that asks for no password, because it is called where nobody may be there
# to answer; otherwise it says what to type and fails.

set -euo pipefail

as_root=()
if ((EUID != 0)); then
    if ! sudo --non-interactive true 2>/dev/null; then
        echo "missing packages; install them with: sudo apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
    as_root=(sudo --non-interactive)
fi
if ! command -v apt-get >/dev/null; then
    echo "missing packages, and this is no Debian; install what holds: $*" >&2
    exit 1
fi

echo "installing: $*" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update --quiet --quiet >&2
"${as_root[@]}" apt-get install --quiet --quiet --yes --no-install-recommends "$@" </dev/null >&2
