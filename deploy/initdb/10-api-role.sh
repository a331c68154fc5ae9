#!/bin/sh
# Run once by the database's image, when it makes a new database: the role of the data API, which can only read.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$(cat /run/secrets/api_password)" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE collector_api LOGIN PASSWORD :'password';
SELECT format('GRANT CONNECT ON DATABASE %I TO collector_api', current_database()) \gexec
GRANT USAGE ON SCHEMA public TO collector_api;
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public GRANT SELECT ON TABLES TO collector_api', current_user) \gexec
ALTER ROLE collector_api SET default_transaction_read_only = on;
SQL
