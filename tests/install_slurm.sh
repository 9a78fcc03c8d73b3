#!/usr/bin/env bash
# See that SLURM and munge are here, for tests/slurm_cluster.py; install them where that is possible.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

there() { type -P sbatch slurmctld slurmd munged >/dev/null; }
install() {
    apt-get install --yes --quiet=2 --no-install-recommends slurm-wlm munge
}

there && exit
if [ "$(id -u)" != 0 ] || ! type -P apt-get >/dev/null; then
    echo "error: no SLURM here; as root, and where there is apt-get, this would install it." >&2
    echo "Ask for the packages slurm-wlm and munge, or what your system calls them." >&2
    exit 1
fi
echo "installing SLURM and munge ..."
export DEBIAN_FRONTEND=noninteractive
install || { apt-get update --quiet=2; install; }
there || { echo "error: sbatch, slurmctld, slurmd or munged is still missing" >&2; exit 1; }
