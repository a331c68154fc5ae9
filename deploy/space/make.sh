#!/bin/sh
# Puts together what a hosted space is made of: its README and the Dockerfile in the root, beside what the image copies.
#   sh deploy/space/make.sh FOLDER        a clone of the space's repository, or any folder
# What is in the folder already is overwritten; nothing is removed but what was left of older code.
set -eu
[ $# = 1 ] || { echo "usage: sh deploy/space/make.sh FOLDER" >&2; exit 2; }
root="$(cd "$(dirname "$0")/../.." && pwd)"
mkdir -p "$1/deploy"
target="$(cd "$1" && pwd)"
[ "$target" != "$root" ] || { echo "name another folder than the program's own" >&2; exit 2; }
cd "$root"
rm -rf "$target/collector" "$target/migrations" "$target/config"
cp -R collector migrations config "$target/"
cp LICENSE main.py alembic.ini requirements.txt requirements-analytics.txt .dockerignore "$target/"
cp deploy/healthcheck.py deploy/start.sh "$target/deploy/"
cp deploy/Dockerfile deploy/space/README.md "$target/"
find "$target" -name __pycache__ -prune -exec rm -rf {} +
echo "the space is in $target: git add, commit and push it there"
