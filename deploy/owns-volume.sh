#!/bin/sh
# Begins as root on a platform that mounts its disks as root's own, gives the data folder to 10001, and goes on as that.
set -eu
data=${REPLYHOOK_DATA_DIR:-/data}
if [ "$(stat -c %u "$data")" != 10001 ]; then
    chown 10001:10001 "$data"
    chmod 0700 "$data"
fi
exec setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
