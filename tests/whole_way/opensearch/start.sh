#!/usr/bin/env bash
# Runs one OpenSearch node in the foreground on 127.0.0.1: start.sh DEPS_DIR HOME_DIR PORT
set -euo pipefail
deps=$1 home=$2 port=$3
mkdir -p "$home"/{config,modules,plugins,data,logs}
cat > "$home/config/opensearch.yml" <<Y
cluster.name: tidegate-test
node.name: node-0
path.data: $home/data
path.logs: $home/logs
network.host: 127.0.0.1
http.port: $port
transport.port: 0
discovery.type: single-node
cluster.routing.allocation.disk.threshold_enabled: false
Y
cat > "$home/config/log4j2.properties" <<'Y'
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
Y
plugins=org.opensearch.transport.Netty4Plugin,org.opensearch.index.mapper.MapperExtrasPlugin
plugins+=,org.opensearch.index.reindex.ReindexPlugin,org.opensearch.ingest.common.IngestCommonPlugin
plugins+=,org.opensearch.painless.PainlessPlugin
exec java -Xms512m -Xmx512m -Dplugins="$plugins" -cp "$deps/launcher:$deps/lib/*" SearchNode "$home"
