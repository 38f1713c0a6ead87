#!/usr/bin/env bash
# The programs that tests run for real and pip cannot bring: Chromium with a font of Chinese, servers
# of PostgreSQL and MariaDB; with the argument `java`, also Java, for the slow tests on Spark.
# Installed where this is Debian or Ubuntu and we are root; else the tests that need them say so.
set -euo pipefail
missing=()
command -v chromium >/dev/null && command -v chromedriver >/dev/null || missing+=(chromium chromium-driver)
[ -n "$(fc-list :lang=zh-cn 2>/dev/null)" ] || missing+=(fontconfig fonts-wqy-microhei)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v mariadbd >/dev/null || missing+=(mariadb-server)
[ "${1:-}" != java ] || command -v java >/dev/null || missing+=(default-jre-headless)
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
