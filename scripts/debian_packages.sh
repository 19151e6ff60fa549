#!/bin/sh
# Install the Debian packages that pip cannot give; where that is not possible, say in one line
# what is missing and what still works. Always exits 0: bonekit works without every one of them.
#
#   scripts/debian_packages.sh          install what is missing (root, or sudo without a password)
#   APT=no scripts/debian_packages.sh   install nothing, only say what is missing
#   PYTHON=python3.12 ...               the interpreter that needs its venv module
set -u
log=${TMPDIR:-/tmp}/bonekit-apt.$$.log
trap 'rm -f "$log"' EXIT

installed() {  # every package named in the arguments
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || return 1
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    [ "${APT:-yes}" != no ] && command -v apt-get >/dev/null &&
        { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" \
        </dev/null >>"$log" 2>&1
}

updated=no
install_packages() {
    apt install --no-install-recommends "$@" && return
    [ "$updated" = yes ] && return 1  # the lists are fresh: the package is not to be had
    updated=yes
    apt update || true  # one unreachable source must not hide the others
    apt install --no-install-recommends "$@"
}

missing=
want() {  # want "what it is for" present|absent package...
    purpose=$1 state=$2
    shift 2
    [ "$state" = present ] && return
    if may_install; then
        echo "Installing Debian packages: $* (to leave the system alone: APT=no)"
        install_packages "$@" && return
        sed -n 's/^E: /apt-get: /p' "$log" | tail -n 1
    fi
    missing="${missing:+$missing; }$* ($purpose)"
}

state() {
    if command -v dpkg-query >/dev/null && installed "$@"; then echo present; else echo absent; fi
}

have() {
    if "$@" >/dev/null 2>&1; then echo present; else echo absent; fi
}

want "the virtual environment cannot be made without it" \
    "$(have "${PYTHON:-python3}" -c 'import ensurepip, venv')" python3-venv

conforming="python3-dolfinx-real libopenblas0-pthread mpi-default-bin"
conforming_state=$(state $conforming)
[ $conforming_state = absent ] && [ ! -e /etc/debian_version ] &&
    conforming_state=$(have "${PYTHON:-python3}" -c 'import dolfinx')
want "conforming engine; the voxel engine, which is the default, works without it" \
    "$conforming_state" $conforming

want "CalculiX cross-checks are skipped; decks are still written" \
    "$(have command -v ccx)" calculix-ccx

[ -z "$missing" ] || echo "note: not installed: $missing"
exit 0
