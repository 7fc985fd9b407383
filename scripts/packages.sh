# install_packages NAME...: from the system's package manager, as root or through sudo; services are not started.

install_packages() {
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    if command -v apt-get >/dev/null; then
        echo "installing $* with apt-get"
        $as_root apt-get update -q >/dev/null
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -q -y --no-install-recommends "$@" >/dev/null
    elif command -v brew >/dev/null; then
        brew install $(echo "$*" | sed 's/mariadb-server-core/mariadb/; s/python3-venv//')
    else
        echo "please install $* with your system's package manager, then try again" >&2
        exit 1
    fi
}
