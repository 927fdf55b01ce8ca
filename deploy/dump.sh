#!/bin/sh
# Dumps the PostgreSQL database that a file names the URL of, while receivers and workers go on.
#
#   sh deploy/dump.sh              once
#   sh deploy/dump.sh nightly      now if there is none of the last 24 hours, and then at 3:00 UTC each night
#
# DATABASE_URL_FILE is that file, DUMP_DIR the folder for the dumps, DUMP_KEEP_DAYS for how long one is kept (14 if it is
# not set). pg_dump has to be of the server's version or later. A dump holds links and endpoints' secrets.
set -eu
: "${DATABASE_URL_FILE:?"set it to the path of the file with the URL of the database"}"
: "${DUMP_DIR:?"set it to the folder for the dumps"}"
umask 077
mkdir -p "$DUMP_DIR"

decoded() { # the password, in which a URL has %-codes
    LC_ALL=C awk 'BEGIN { hex = "0123456789abcdef" } {
        while (match($0, /%[0-9A-Fa-f][0-9A-Fa-f]/)) {
            code = tolower(substr($0, RSTART + 1, 2))
            printf "%s%c", substr($0, 1, RSTART - 1), 16 * index(hex, substr(code, 1, 1)) + index(hex, substr(code, 2)) - 17
            $0 = substr($0, RSTART + 3)
        }
        printf "%s", $0
    }'
}

dump() {
    url=$(cat "$DATABASE_URL_FILE")
    scheme=${url%%://*} rest=${url#*://}
    authority=${rest%%/*}
    case $authority in
    *:*@*) # Others see the arguments of a program: the password is not among them.
        login=${authority%@*}
        PGPASSWORD=$(printf '%s' "${login#*:}" | decoded)
        export PGPASSWORD
        rest=${login%%:*}@${rest#"$login@"}
        ;;
    esac
    name=$DUMP_DIR/replyhook-$(date -u +%Y-%m-%dT%H%M%SZ).dump
    rm -f "$DUMP_DIR"/replyhook-*.part
    pg_dump --no-password --format=custom --file="$name.part" --dbname="$scheme://$rest"
    pg_restore --list "$name.part" > /dev/null # it can be read
    sync
    mv "$name.part" "$name"
    echo "$name"
    # Only now: where no dump succeeds, the old ones stay.
    find "$DUMP_DIR" -name 'replyhook-*.dump' -mtime "+$((${DUMP_KEEP_DAYS:-14} - 1))" -exec rm -f {} +
}

case ${1:-once} in
once) dump ;;
nightly)
    if [ -z "$(find "$DUMP_DIR" -name 'replyhook-*.dump' -mmin -1440)" ]; then dump; fi
    while :; do
        sleep $(((97200 - $(date +%s) % 86400) % 86400 + 1))
        dump
    done
    ;;
*)
    echo "once or nightly?" >&2
    exit 2
    ;;
esac
