#!/bin/sh
#
# Run a command in a virtual environment that has Nova, nova-meta and what the
# tests need: tools/with_venv.sh COMMAND [ARGUMENT...]
#
# The environment is made in .venv at the first call, and made again when the
# requirements have changed. PYTHON names another interpreter than python3,
# VENV another place.

set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
venv=${VENV:-$top/.venv}
python=${PYTHON:-python3}

say() {
    echo "$@" >&2
}

if [ $# -eq 0 ]; then
    say "usage: tools/with_venv.sh COMMAND [ARGUMENT...]"
    exit 2
fi

cd "$top"
wanted=$(cat setup.cfg constraints.txt requirements.txt test-requirements.txt |
    cksum)

if [ "$wanted" != "$(cat "$venv/made-for" 2>/dev/null || true)" ]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        say "nova-meta needs Python 3.9 or newer: set PYTHON to one."
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "$python cannot make virtual environments; on Debian and Ubuntu:"
        say "    apt-get install python3-venv"
        exit 1
    fi
    if [ -e .git ] && ! command -v git >/dev/null; then
        say "git is missing, which tells the version; on Debian and Ubuntu:"
        say "    apt-get install git"
        exit 1
    fi
    say "Making $venv with Nova and what the tests need; takes a minute or two."
    if ! "$python" -m venv --clear "$venv"; then
        say "$venv cannot be made: set VENV to a directory that can be written."
        exit 1
    fi
    pip() {
        "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@" >&2
    }
    # That of Debian 11 is older than editable installs without setup.py.
    if ! pip install 'pip>=21.3' ||
        ! pip install -c constraints.txt -r test-requirements.txt -e .; then
        say "pip cannot install what is needed: it wants a package index, and"
        say "to write into this directory ($top). Try again when there is one"
        say "(a proxy in HTTPS_PROXY, a mirror in PIP_INDEX_URL), or copy this"
        say "directory to where it can be written."
        exit 1
    fi
    echo "$wanted" > "$venv/made-for"
fi

PATH=$venv/bin:$top/tools:$PATH
export PATH
exec "$@"
