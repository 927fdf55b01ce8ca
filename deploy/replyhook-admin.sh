#!/bin/sh
# `replyhook` for whoever looks after replyhook.service, as root: with the settings, the folder and the secrets that the
# service has. A file of the secrets' folder is the setting of the same name: signing_keys, providers__fal__api_key, …
#
#   replyhook-admin doctor
#   replyhook-admin db backup /root/replyhook.db
set -eu
etc=/etc/replyhook
for file in "$etc"/secrets/*; do
    name=${file##*/}
    case $name in
        postgres_password | backup_credentials | *[!a-z0-9_]*) continue ;; # others' secrets
    esac
    export "REPLYHOOK_$(printf %s "$name" | tr 'a-z' 'A-Z')_FILE=$file"
done
export REPLYHOOK_CONFIG="$etc/replyhook.toml"
exec /opt/replyhook/bin/replyhook "$@"
