#!/bin/sh
# Makes the files of secrets that docker-compose.yml mounts, once; what is there is left as it is.
#   sh deploy/make-secrets.sh [FOLDER]        default: secrets, beside docker-compose.yml
# The folder is closed to other users of this machine. The files in it are readable, because containers read them as
# users of their own.
set -eu
folder="${1:-secrets}"
word() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }
mkdir -p "$folder"
chmod 0700 "$folder"
umask 022
password() { # NAME: letters and digits only, for it becomes part of an address
    [ -s "$folder/$1" ] || word > "$folder/$1"
}
address() { # FILE USER PASSWORD_FILE
    [ -s "$folder/$1" ] || printf 'postgresql://%s:%s@database:5432/collector\n' "$2" "$(cat "$folder/$3")" > "$folder/$1"
}
password database_password
password api_password
address database_url collector database_password
address api_database_url collector_api api_password
[ -e "$folder/collector.env" ] || cp "$(dirname "$0")/../config/env.example" "$folder/collector.env"
chmod 0644 "$folder"/*
echo "secrets are in $folder/; keys of providers and other settings belong into $folder/collector.env"
