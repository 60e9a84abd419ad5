#!/bin/sh
# Does what the entrypoint of postgres:18 does with the settings of docker-compose.yml, and no more.
set -eu
export PGDATA=/var/lib/postgresql/18/docker
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --encoding UTF8 --locale C.UTF-8 --username "$POSTGRES_USER" --pwfile /tmp/password \
        --auth-local trust --auth-host scram-sha-256 > /dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --options "-c listen_addresses=" start > /dev/null
    createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql --quiet --username "$POSTGRES_USER" --file "$script" "$POSTGRES_DB"
    done
    pg_ctl --wait --mode fast stop > /dev/null
fi
exec postgres -c "listen_addresses=*" "$@"
