# shellcheck shell=bash
# The tools of what is installed (scripts/lock, audit, sbom), in a .venv-supply of their own: what is locked and audited
# doesn't depend on what locks and audits it. Sourced after environment.sh, not run.

supply=$root/.venv-supply

# ensure_supply TOOL...: returns when .venv-supply has them all; exits with a message when it can't.
ensure_supply() {
    local tool missing=''
    for tool in "$@"; do
        [ -x "$supply/bin/$tool" ] || missing=$tool
    done
    [ -n "$missing" ] || return 0
    find_python && check_venv_module || exit 1
    say "Installing into $supply ..."
    rm -rf "$supply" # one whose making was broken off
    "$python" -m venv "$supply" &&
        "$supply/bin/python" -m pip install -q --require-hashes -r "$root/requirements/supply.txt" </dev/null >&2 ||
        die "The tools can't be installed into $supply: is there a network?"
}
