#!/bin/sh
# Make a folder with Debian 13 or sid and its dolfinx, and run bonekit's conforming engine there.
# Needs root, debootstrap and 2.5 GB of disk and a few minutes for each; not part of `make test`.
#
#   scripts/dolfinx_chroots.sh                        trixie (dolfinx 0.9) and sid (0.11)
#   scripts/dolfinx_chroots.sh trixie                 only that one
#   FOLDER=/var/tmp/elsewhere scripts/...             where; default /var/tmp/bonekit-dolfinx
#   TESTS="tests/verification/..." scripts/...        other tests; TESTS= runs none
#   MIRROR=http://... scripts/...                     instead of debootstrap's own
#
# FOLDER/trixie-bin/python3 enters the root for one command: name it in BONEKIT_DOLFINX_PYTHON.
# Nothing stays mounted: mounts live in a namespace of that command.
set -eu
FOLDER=${FOLDER:-/var/tmp/bonekit-dolfinx}
TESTS=${TESTS-tests/verification/test_conforming.py tests/verification/test_conforming_plastic.py tests/verification/test_conforming_caps.py tests/verification/test_conforming_calculix.py tests/verification/test_conforming_keyak.py tests/verification/test_conforming_closed_forms.py tests/unit/fem/test_conforming.py}
PYTHON=${PYTHON:-.venv/bin/python}
PACKAGES="python3-dolfinx-real python3-scipy libopenblas0-pthread mpi-default-bin gcc libc6-dev"

[ "$(id -u)" = 0 ] || { echo "debootstrap and chroot need root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "missing: apt-get install debootstrap" >&2; exit 1; }

in_root() {  # a command inside, with the system's files of processes and devices
    unshare --mount --propagation private sh -c '
        root=$1; shift
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        mount -t proc proc "$root/proc"
        exec chroot "$root" /usr/bin/env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
    ' sh "$@"
}

make_root() {  # suite: made beside and renamed, so that one cut short is not taken for whole
    root=$FOLDER/$1
    [ -d "$root" ] && return
    rm -rf "$root.part"
    mkdir -p "$FOLDER"
    debootstrap --variant=minbase "$1" "$root.part" ${MIRROR:+"$MIRROR"} >"$FOLDER/$1.log"
    for what in update "install --no-install-recommends $PACKAGES" clean; do
        # A mirror of sid that lags counts as expired after a week; signatures are checked all the same.
        in_root "$root.part" apt-get -qq -y -o Acquire::Check-Valid-Until=false $what >>"$FOLDER/$1.log" 2>&1
    done
    version=$(in_root "$root.part" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    # Debian has no pyamg; without it the tests of a dolfinx without PETSc factorise.
    "$PYTHON" -m pip install -q --no-deps --only-binary=:all: --python-version "$version" \
        --target "$root.part/usr/local/lib/python$version/dist-packages" pyamg ||
        echo "$1: no pyamg" >&2
    mv "$root.part" "$root"
}

make_entrance() {  # suite: python3 and mpiexec that run inside, the latter starting the former
    bin=$FOLDER/$1-bin
    mkdir -p "$bin" "$FOLDER/$1$bin"
    ln -sf /usr/bin/python3 "$FOLDER/$1$bin/python3"
    for name in python3 mpiexec; do
        cat >"$bin/$name" <<END
#!/bin/sh
# /tmp is shared: models and results pass through it.
exec unshare --mount --propagation private sh -c '
    mount --rbind /dev "$FOLDER/$1/dev"
    mount --rbind /sys "$FOLDER/$1/sys"
    mount -t proc proc "$FOLDER/$1/proc"
    mount --rbind /tmp "$FOLDER/$1/tmp"
    exec chroot "$FOLDER/$1" /usr/bin/env -C / HOME=/root PATH=/usr/bin:/bin $name "\$@"
' $name "\$@"
END
        chmod +x "$bin/$name"
    done
}

cd "$(dirname "$0")/.."
for suite in "${@:-trixie sid}"; do
    for one in $suite; do
        make_root "$one"
        make_entrance "$one"
        echo "$one: dolfinx $("$FOLDER/$one-bin/python3" -c 'import dolfinx; print(dolfinx.__version__)')"
        [ -z "$TESTS" ] ||
            BONEKIT_DOLFINX_PYTHON=$FOLDER/$one-bin/python3 TMPDIR=/tmp \
                "$PYTHON" -m pytest -q -p no:cacheprovider $TESTS
    done
done
