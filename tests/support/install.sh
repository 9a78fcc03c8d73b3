#!/usr/bin/env bash
# See that the programs of some tests are here; install them where that is possible.
#   tests/support/install.sh slurm      for tests/support/slurm_cluster.py
#   tests/support/install.sh chromium   for tests/reporting/test_report.py, tests/search/test_serve_page.py
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

case ${1:-} in
    slurm) programs=(sbatch slurmctld slurmd munged) packages=(slurm-wlm munge) ;;
    chromium) programs=(chromium) packages=(chromium) ;;
    *) echo "usage: tests/support/install.sh slurm|chromium" >&2; exit 2 ;;
esac

there() { type -P "${programs[@]}" >/dev/null; }
install() { apt-get install --yes --quiet=2 --no-install-recommends "${packages[@]}"; }

there && exit
if [ "$(id -u)" != 0 ] || ! type -P apt-get >/dev/null; then
    echo "error: no $1 here; as root, and where there is apt-get, this would install it." >&2
    echo "Ask for the packages ${packages[*]}, or what your system calls them." >&2
    exit 1
fi
echo "installing ${packages[*]} ..."
export DEBIAN_FRONTEND=noninteractive
install || { apt-get update --quiet=2; install; }
there || { echo "error: of ${programs[*]} something is still missing" >&2; exit 1; }
