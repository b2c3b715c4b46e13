#!/bin/sh
# Installs what the tests need beside Python: a real RTSP server, a GigE Vision camera, Prometheus, Kafka, MQTT, a browser.
# Debian and Ubuntu, as root; elsewhere it names the line to type, and the tests that need them skip (with CI=true they fail).
set -u
PACKAGES="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly aravis-tools prometheus mosquitto mosquitto-clients fonts-noto-cjk"
TOOLS="chromium:chromium default-jre-headless:java maven:mvn openssl:openssl kcat:kcat npm:npm" # package:command, which may come from elsewhere

missing=""
if command -v dpkg-query >/dev/null 2>&1; then
    for package in $PACKAGES; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
else
    command -v promtool >/dev/null 2>&1 || missing=" $PACKAGES"
fi
for tool in $TOOLS; do
    command -v "${tool#*:}" >/dev/null 2>&1 || missing="$missing ${tool%%:*}"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "== installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
    echo "apt-get could not install$missing"
else
    echo "some tests need more: sudo apt-get install$missing"
fi
[ "${CI:-}" = true ] && exit 1
exit 0
