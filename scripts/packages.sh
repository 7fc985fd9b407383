# install_packages NAME...: Debian's names, from the system's package manager; services are not started.

install_packages() {
    if command -v apt-get >/dev/null; then
        install_with_apt "$@"
    elif command -v brew >/dev/null; then
        install_with_brew "$@"
    else
        echo "please install $* with your system's package manager, then try again" >&2
        exit 1
    fi
}

install_with_apt() {
    as_root=
    if [ "$(id -u)" != 0 ]; then
        as_root=sudo
        command -v sudo >/dev/null || {
            echo "$* is missing, and only an administrator can install it. Please ask for this, then try again:" >&2
            echo "    apt-get install -y --no-install-recommends $*" >&2
            exit 1
        }
    fi
    echo "installing $* with apt-get"
    $as_root apt-get update -q >/dev/null || return
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -q -y --no-install-recommends "$@" >/dev/null
}

install_with_brew() {
    # Homebrew's Python has venv in it.
    names=$(echo "$*" | sed 's/mariadb-server-core/mariadb/; s/mariadb-client/mariadb/; s/libgomp1/libomp/; s/python[0-9.]*-venv//')
    [ -z "$(echo $names)" ] || brew install $names
}
