#!/usr/bin/env bash
# Installs what a target needs from Debian's or Ubuntu's packages, when it is
# missing and this user may install; otherwise says exactly what to install.
# usage: ensure.sh postgres|sipp|otp|freediameter|tshark …
set -euo pipefail

declare -A packages=(
  [postgres]="postgresql"
  [sipp]="sip-tester"
  [otp]="erlang-diameter erlang-dev erlang-examples erlang-base erlang-ssl openssl"
  [freediameter]="freediameterd freediameter-extensions"
  [tshark]="tshark"
)

present() {
  case $1 in
    postgres) [ -n "${GYGATE_PG_BIN:-}" ] || [ -n "${GYGATE_TEST_DSN:-}" ] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
    sipp)     command -v sipp >/dev/null ;;
    otp)      command -v escript >/dev/null && compgen -G '/usr/lib/erlang/lib/diameter-*/examples/dict/rfc4006_cc.dia' >/dev/null && compgen -G '/usr/lib/erlang/lib/diameter-*/include/diameter.hrl' >/dev/null && command -v openssl >/dev/null ;;
    freediameter) command -v freeDiameterd >/dev/null && [ -e /usr/lib/freeDiameter/acl_wl.fdx ] ;;
    tshark)   command -v tshark >/dev/null ;;
    *)        echo "ensure.sh: unknown part '$1' (postgres, sipp, otp, freediameter, tshark)" >&2; exit 2 ;;
  esac
}

missing=()
for part in "$@"; do
  present "$part" || missing+=(${packages[$part]})
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then
  echo "missing packages; install them and try again:" >&2
  echo "    sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo -n)
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
# No cluster of its own is wanted, only the binaries.
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  "${as_root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.d/gygate.conf >/dev/null
fi
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
