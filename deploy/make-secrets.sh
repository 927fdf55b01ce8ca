#!/bin/sh
# Makes the secrets of a receiver, one file each, for systemd, Docker Compose and Kubernetes alike.
#
#   sh deploy/make-secrets.sh DIR            signing_keys, api_keys, notification_secrets
#   sh deploy/make-secrets.sh DIR HOST       also postgres_password, and database_url for replyhook's database on HOST
#
# What is there already is left as it is: run it again whenever you like. The folder is for you alone; the files in it
# can be read by all, since Docker Compose hands them to a container whose user is nobody here.
set -eu
dir=${1:?"name the folder for the secrets: sh make-secrets.sh DIR [POSTGRES_HOST]"}
(umask 022 && mkdir -p "$(dirname "$dir")") # for others to enter: it may hold what is no secret
umask 077
mkdir -p "$dir"
chmod 0700 "$dir"

random() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }
url_safe() { random | tr '+/' '-_' | tr -d '='; }
keep() { # keep NAME: what comes in, unless there is such a file
    if [ -s "$dir/$1" ]; then
        echo "$dir/$1 is there already" >&2
        cat > /dev/null
    else
        cat > "$dir/.$1.new"
        chmod 0444 "$dir/.$1.new"
        mv "$dir/.$1.new" "$dir/$1"
        echo "$dir/$1"
    fi
}

url_safe | keep signing_keys
printf 'rhk_%s' "$(url_safe)" | keep api_keys
printf 'whsec_%s' "$(random)" | keep notification_secrets
if [ -n "${2:-}" ]; then
    url_safe | keep postgres_password
    printf 'postgresql://replyhook:%s@%s:5432/replyhook' "$(cat "$dir/postgres_password")" "$2" | keep database_url
fi
