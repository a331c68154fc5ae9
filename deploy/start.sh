#!/bin/sh
# Starts the program in the image. A user who may not write into /app, as on hosted spaces, gets folders in /data when a
# disk is mounted there, else in /tmp, where they last as long as the container. Settings that are made stay.
set -eu
if [ -z "${COLLECTOR_DATA_DIR:-}" ] && ! [ -w data ]; then
    for place in "${PERSISTENT:-/data}" "${TMPDIR:-/tmp}"; do
        if [ -d "$place" ] && [ -w "$place" ]; then
            export COLLECTOR_DATA_DIR="$place/collector/data"
            export COLLECTOR_LOGS__DIRECTORY="${COLLECTOR_LOGS__DIRECTORY:-$place/collector/logs}"
            mkdir -p "$place/collector"
            break
        fi
    done
fi
exec python main.py "$@"
