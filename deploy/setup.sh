# Sourced by deploy/run and tests/run: makes `.venv` inside this clone hold exactly what requirements.lock names.
#
# Needs Python 3.11 or newer and nothing else: no root, no system-wide change. Done before and nothing changed since:
# returns at once. Progress goes to standard error.
#
#     set_up runtime      what the commands need
#     set_up dev          and what the tests need

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

say() { printf 'setup: %s\n' "$*" >&2; }

give_up() {
    say "$*"
    exit 1
}

set_up() {
    local want=$1 here=$PWD
    is_done "$want" && return
    cd "$root" || exit 1
    # Two set-ups at once would trample on each other. Where there is no `flock` (macOS), people take care themselves.
    exec 9<"$root/pyproject.toml"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "another set-up of this clone is running; waiting for it"
        flock 9
    fi
    is_done "$want" || make_ready "$want"
    exec 9<&-
    cd "$here" || exit 1 # where the caller's services are
}

# The stamp names everything the environment was made from. Written last, so an interrupted set-up is not taken for a
# finished one. The clone's path is in it because an environment does not survive being moved.
stamp() { { echo "$root"; cat "$root/pyproject.toml" "$root/requirements.lock" "$venv/pyvenv.cfg"; } 2>/dev/null | cksum; }

is_done() {
    local name known
    [ -x "$venv/bin/python" ] || return 1
    for name in "$1" dev; do # who has everything for the tests has everything for the commands
        [ -r "$venv/.made-$name" ] && read -r known <"$venv/.made-$name" && [ "$known" = "$(stamp)" ] && return 0
    done
    return 1
}

make_ready() {
    local want=$1 extra='[plot]' began=$SECONDS
    [ "$want" = dev ] && extra='[dev]'
    rm -f "$venv"/.made-*
    make_venv
    say "installing the packages that requirements.lock names ($want)"
    # The lock also pins what builds the package: older pips read the first variable for that, newer ones the second.
    PIP_CONSTRAINT=requirements.lock PIP_BUILD_CONSTRAINT=requirements.lock "$venv/bin/python" -m pip install \
        --quiet --no-input --disable-pip-version-check -c requirements.lock -e ".$extra" </dev/null >&2 ||
        give_up "the packages could not be installed (see above); nothing outside $venv changed. Is a package index reachable?"
    stamp >"$venv/.made-$want"
    say "ready after $((SECONDS - began)) s"
}

make_venv() {
    local python
    # A usable one is kept: going from runtime to dev, or to a new lock, then costs only what changed.
    if "$venv/bin/python" -c "$old_enough" 2>/dev/null && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf "$venv"
    if python=$(newest_python 'import ensurepip, venv; ensurepip.version()'); then
        say "making .venv with $("$python" --version 2>&1) ($python)"
        "$python" -m venv "$venv" >&2 || give_up "$python could not make a virtual environment in $venv (see above)."
    elif python=$(newest_python 'import venv'); then
        say "making .venv with $("$python" --version 2>&1) ($python), which comes without pip"
        "$python" -m venv --without-pip "$venv" >&2 || give_up "$python could not make a virtual environment in $venv (see above)."
        bring_pip "$python"
    else
        give_up "Python 3.11 or newer is needed, and none was found as python3.14 … python3.11 or python3 on PATH. Install one."
    fi
}

old_enough='import sys; sys.exit(sys.version_info < (3, 11))'

# The newest Python that can run "$1". Each is asked: a name on PATH may be a stub for a version that is not there.
newest_python() {
    local candidate
    for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c "$old_enough" 2>/dev/null && "$candidate" -c "$1" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

download='import sys, urllib.request as u; open(sys.argv[2], "wb").write(u.urlopen(sys.argv[1], timeout=60).read())'

# Debian keeps pip out of its Python (package python3-venv). It is had without root: from the wheel another package left
# on this machine, else from Debian's package of that wheel, else from the Python Packaging Authority.
bring_pip() {
    local python=$1 scratch=$venv/.pip wheel
    wheel=$(find /usr/share/python-wheels -name 'pip-*.whl' 2>/dev/null | sort | tail -n 1)
    if [ -z "$wheel" ] && "$python" "$root/orchestrator/live/embedded/apt.py" python3-pip-whl "$scratch" 2>/dev/null; then
        say "took pip from Debian's package of it"
        wheel=$(find "$scratch/usr/share/python-wheels" -name 'pip-*.whl' | sort | tail -n 1)
    fi
    if [ -n "$wheel" ] && # a wheel is a zip file, and Python runs from those
        PYTHONPATH=$wheel "$venv/bin/python" -m pip install --quiet --no-index --no-input "$wheel" </dev/null >&2; then
        rm -rf "$scratch"
        return
    fi
    say "fetching pip from bootstrap.pypa.io"
    mkdir -p "$scratch"
    if "$venv/bin/python" -c "$download" https://bootstrap.pypa.io/get-pip.py "$scratch/get-pip.py" 2>/dev/null &&
        "$venv/bin/python" "$scratch/get-pip.py" --quiet --no-input </dev/null >&2; then
        rm -rf "$scratch"
        return
    fi
    rm -rf "$venv"
    give_up "this Python has no pip, and none could be fetched. Install it (Debian: apt-get install python3-venv)."
}
