#!/bin/sh
# Create the namespace and the three Secrets of the trial: random keys and passwords, which are
# neither printed nor stored elsewhere. It keeps what is there: the databases know their passwords.
set -eu
cd "$(dirname "$0")"
kubectl apply --filename ../../k8s/00-namespace.yaml
if kubectl --namespace rebalancer get secret rebalancer rebalancer-owner rebalancer-servers \
    > /dev/null 2>&1; then
    echo "the Secrets exist"
    exit
fi
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
random() { openssl rand -hex 24; }
owner=$(random) app=$(random) valkey=$(random) mongo_owner=$(random) mongo_app=$(random)
options="authSource=admin&replicaSet=rs0"
cat > "$folder/servers" <<END
POSTGRES_PASSWORD=$(random)
POSTGRES_OWNER_PASSWORD=$owner
POSTGRES_APP_PASSWORD=$app
VALKEY_PASSWORD=$valkey
MONGO_PASSWORD=$(random)
MONGO_OWNER_PASSWORD=$mongo_owner
MONGO_APP_PASSWORD=$mongo_app
END
cat > "$folder/service" <<END
REBALANCER_SECRET_KEY=$(openssl rand -hex 32)
REBALANCER_ENCRYPTION_KEYS=$(date +%F):$(openssl rand -base64 32)
REBALANCER_DATABASE_URL=postgresql://rebalancer_app:$app@${POSTGRES_HOST:-postgres}:5432/rebalancer
REBALANCER_REDIS_URL=redis://:$valkey@${VALKEY_HOST:-valkey}:6379/0
REBALANCER_MONGO_URL=mongodb://rebalancer_app:$mongo_app@${MONGO_HOST:-mongo}:27017/rebalancer?$options
END
cat > "$folder/owner" <<END
REBALANCER_DATABASE_URL=postgresql://rebalancer_owner:$owner@${POSTGRES_HOST:-postgres}:5432/rebalancer
REBALANCER_MONGO_URL=mongodb://rebalancer_owner:$mongo_owner@${MONGO_HOST:-mongo}:27017/rebalancer?$options
END
create="kubectl --namespace rebalancer create secret generic"
$create rebalancer-servers --from-env-file="$folder/servers"
$create rebalancer-owner --from-env-file="$folder/owner"
$create rebalancer --from-env-file="$folder/service"
