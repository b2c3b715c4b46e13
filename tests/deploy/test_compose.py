"""compose.yaml, loaded by the Compose specification's reference tool, which checks it by the specification's schema."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, need
from tests.deploy.go_tools import compose_loader
from tests.deploy.rendered import DEPLOY, LINE, Manifest, composed, stages
from tests.deploy.test_dockerfile import EXACT, PROJECT
from tests.servers.kafka import CACHE
from workers.config.line import load_config

pytestmark = pytest.mark.timeout(900)  # the tool is built the first time
WORKERS = ("kafka-init", "capture", "infer", "infer-gpu")
KAFKA_STORE = "/var/lib/kafka/data"


@cache
def services() -> dict[str, Manifest]:
    return dict(composed()["services"])


def seconds(text: str) -> float:
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text).groups()  # type: ignore[union-attr]
    return 60 * int(minutes or 0) + int(rest or 0)


def test_a_key_that_the_specification_does_not_know_is_refused(tmp_path: Path) -> None:
    broken = (DEPLOY / "compose.yaml").read_text(encoding="utf-8").replace("read_only: true", "read_onyl: true", 1)
    (tmp_path / "compose.yaml").write_text(broken, encoding="utf-8")
    done = subprocess.run([compose_loader(), "compose.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "read_onyl" in done.stderr


def test_without_a_gpu_asked_for_no_service_needs_one() -> None:
    optional = {name: service["profiles"] for name, service in services().items() if "profiles" in service}
    needing = [name for name, service in services().items() if "deploy" in service]
    assert optional == {"infer-gpu": ["gpu"]}
    assert needing == ["infer-gpu"]


def test_images_are_pinned_and_ours_are_built_from_targets_that_exist() -> None:
    for name, service in services().items():
        assert EXACT.match(service["image"]), name
        if "build" in service:
            target = service["build"]["target"]
            assert target in stages()
            assert service["image"] == f"clearline:{PROJECT['project']['version']}-{target}"
            assert (Path(service["build"]["context"]) / service["build"]["dockerfile"]).is_file()


def test_what_serves_is_checked_and_started_again() -> None:
    for name, service in services().items():
        if name != "kafka-init":
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"][0] == "CMD", name


def test_nothing_waits_for_a_health_that_is_never_checked() -> None:
    for service in services().values():
        for other, how in service.get("depends_on", {}).items():
            checked = "test" in services()[other].get("healthcheck", {})
            assert checked == (how["condition"] == "service_healthy")


@pytest.mark.parametrize("name", WORKERS)
def test_workers_have_no_rights_and_write_only_where_they_may(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert [volume["target"] for volume in service["volumes"]] == ["/app/runs"]


@pytest.mark.parametrize("name", WORKERS)
def test_workers_are_given_longer_to_stop_than_they_take_to_drain(name: str) -> None:
    drain_s = load_config(LINE, environ={}).shutdown.timeout_s
    assert seconds(services()[name]["stop_grace_period"]) >= drain_s + 5


def test_secrets_come_as_files_and_ports_are_open_to_this_machine_only() -> None:
    for name, service in services().items():
        secret = [key for key in service.get("environment", {}) if re.search("PASSWORD|SECRET|TOKEN", key)]
        assert [key for key in secret if not key.endswith("__FILE")] == [], name
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name


def test_mounted_files_are_there() -> None:
    assert Path(composed()["configs"]["line"]["file"]) == LINE
    assert (DEPLOY / "prometheus" / "prometheus.yml").is_file()
    binds = [volume for one in services().values() for volume in one["volumes"] if volume["type"] == "bind"]
    assert {Path(bind["source"]).relative_to(DEPLOY).name for bind in binds} == {"prometheus", "grafana"}
    assert all(bind["read_only"] for bind in binds)


def test_prometheus_asks_every_worker_on_the_port_of_the_line() -> None:
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    found = [found for job in settings["scrape_configs"] for found in job.get("dns_sd_configs", [])]
    assert {name for one in found for name in one["names"]} == set(WORKERS) - {"kafka-init"}
    assert {one["port"] for one in found} == {load_config(LINE, environ={}).server.port}


def test_the_broker_understands_its_settings(tmp_path: Path) -> None:
    jars = sorted(CACHE.glob("kafka-*/"))
    need(bool(jars), what="Kafka's jars", how="make kafka fetches them")
    environment = services()["kafka"]["environment"]
    names = {name: name.removeprefix("KAFKA_").lower().replace("_", ".") for name in environment}
    given = {names[name]: value for name, value in environment.items() if name != "KAFKA_HEAP_OPTS"}
    assert given["log.dirs"] == KAFKA_STORE
    given["log.dirs"] = str(tmp_path / "log")
    properties = tmp_path / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in given.items()), encoding="utf-8")
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{jars[-1]}/*", "kafka.tools.StorageTool", "format"]
    command += ["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(properties)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert jars[-1].name == "kafka-" + services()["kafka"]["image"].split(":")[1]


def test_the_loaded_file_lies_in_the_checkout() -> None:
    assert Path(services()["capture"]["build"]["context"]) == ROOT
