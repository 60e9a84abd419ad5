#!/bin/sh
# Run a command with processes, network and mounts of its own, which end with it, so that a kubelet
# there changes nothing on this machine: apart.sh FOLDER COMMAND... What it would write outside the
# FOLDER goes there or to memory.
set -eu
if [ "${APART:-}" = "" ]; then
    APART=yes exec unshare --net --mount --pid --fork --mount-proc --kill-child "$0" "$@"
fi
folder=$1
shift
# Sockets and pods' logs; what kubelet and network plugins keep.
mount -t tmpfs none /run
mount -t tmpfs none /var/log
mkdir -p "$folder/lib" "$folder/lib-work"
mount -t overlay -o "lowerdir=/var/lib,upperdir=$folder/lib,workdir=$folder/lib-work" none /var/lib
# kubelet sets these for the whole machine; it may set copies.
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    [ -e "/proc/sys/$setting" ] || continue
    copy=$folder/$(basename "$setting")
    cat "/proc/sys/$setting" > "$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
ip link set lo up
"$@"
exit # not by exec: the first process of a namespace must collect orphans
