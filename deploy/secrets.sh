#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml hands to its containers, once; what is there stays.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
mkdir -p secrets
keep() {  # keep FILE TEXT
    [ -s "secrets/$1" ] || { rm -f "secrets/$1"; printf '%s' "$2" > "secrets/$1"; }
}
random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
keep postgres_password "$(random)"
keep redis_password "$(random)"
keep secret_key "$(random)"
keep grafana_password "$(random)"
# Of a bucket, where originals are in one (FRACTURE_STORE_URL in .env): write its two keys there.
keep store_access_key ""
keep store_secret_key ""
# Of the token that Prometheus asks with; see docs/monitoring/compose.yml.
keep prometheus_token ""
keep database_url "postgresql://fracture:$(cat secrets/postgres_password)@postgres:5432/fracture"
keep broker_url "redis://:$(cat secrets/redis_password)@redis:6379/0"
# Containers read them as another user; the folder is for its owner alone.
chmod 700 secrets
chmod 444 secrets/*
echo "The secrets are in secrets/; keep a copy where nobody else reads it."
