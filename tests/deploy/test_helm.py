"""The chart, linted and rendered by Helm, its manifests checked by the schemas of Kubernetes and of KEDA."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.go_tools import keda_definitions
from tests.deploy.rendered import CHART, KUBERNETES, LINE, Manifest, environment, kinds, run_helm, templated, workloads
from tests.deploy.test_dockerfile import PROJECT
from workers.config.line import load_config
from workers.opening.kafka import frames_topic

pytestmark = pytest.mark.timeout(900)  # Helm is built the first time
FOREIGN = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
LINE_TEXT = LINE.read_text(encoding="utf-8")
KAFKA = {"bootstrap": "a:9092,b:9093", "topicsPrefix": "plant-7", "group": "night"}
LOGIN = {"secret": "kafka-login", "sasl": "scram_sha512", "tls": "enable", "ca": True}
VALUES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "everything": {
        "kafka": {**KAFKA, "init": {"replication": 3, "partitions": 24}},
        "image": {"pullSecrets": ["registry"], "digest": "sha256:" + "a" * 64},
        "env": {"SITE": "7"},
        "secretEnv": [{"name": "KAFKA_USERNAME", "secret": "kafka-login", "key": "username"}],
        "secretFiles": [{"name": "kafka", "secret": "kafka-login"}, {"name": "cameras", "secret": "camera-urls"}],
        "infer": {"autoscaling": {"enabled": True, "authentication": LOGIN}, "nodeSelector": {"disk": "ssd"}},
        "heads": {"claim": "fitted-heads"},
        "networkPolicy": {"brokers": [{"podSelector": {}}], "scrapeFrom": [{"podSelector": {}}]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "with a GPU": {"infer": {"gpus": 1, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}},
    "capture split": {"capture": {"lines": {"hall-1": LINE_TEXT, "hall-2": LINE_TEXT}}},
    "inference alone": {
        "capture": {"enabled": False},
        "kafka": {"init": {"enabled": False}},
        "networkPolicy": {"enabled": False},
        "infer": {"podDisruptionBudget": {"enabled": False}},
    },
}
every_case = pytest.mark.parametrize("case", VALUES)


@cache
def manifests(case: str) -> list[Manifest]:
    with tempfile.TemporaryDirectory() as folder:
        return templated(VALUES[case], folder=Path(folder))


def pod(case: str, name: str) -> Manifest:
    return dict(workloads(manifests(case))[f"line-clearline-{name}"])


def test_helm_finds_nothing_to_complain_about() -> None:
    done = run_helm("lint", "--strict", str(CHART), "--set-file", f"line={LINE}")
    assert done.returncode == 0, done.stdout


def test_without_a_configuration_it_says_what_to_pass() -> None:
    done = run_helm("template", "line", str(CHART), "--kube-version", KUBERNETES)
    assert done.returncode != 0
    assert "--set-file line=LINE.yaml" in done.stderr


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("infer.replica=3", "replica"),
        ("image.tag=latest", "tag"),
        ("kafka.bootstrap=a", "bootstrap"),
        ("port=8", "port"),
    ],
)
def test_a_value_that_is_unknown_or_wrong_is_refused(value: str, named: str) -> None:
    done = run_helm("template", "line", str(CHART), "--kube-version", KUBERNETES, "--set", value)
    assert done.returncode != 0
    assert named in done.stderr


@every_case
def test_manifests_are_valid_for_kubernetes(case: str) -> None:
    own = [manifest for manifest in manifests(case) if manifest["apiVersion"] not in FOREIGN]
    assert own
    for manifest in own:
        for version in ("1.27", KUBERNETES):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("kind", ["ScaledObject", "TriggerAuthentication"])
def test_autoscaling_is_valid_for_keda(kind: str) -> None:
    definition = yaml.safe_load((keda_definitions() / f"keda.sh_{kind.lower()}s.yaml").read_text(encoding="utf-8"))
    [version] = [one for one in definition["spec"]["versions"] if one["name"] == "v1alpha1"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    [manifest] = kinds(manifests("everything"), kind)
    jsonschema.validate({**manifest, "metadata": {}}, schema)


def closed(schema: Any) -> Any:
    """The same schema, with keys refused that it does not name, as the API server drops them."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **inner} if isinstance(inner.get("properties"), dict) else inner


@every_case
def test_names_are_unique_and_short_enough(case: str) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests(case)]
    assert len(names) == len(set(names))
    assert max(len(name) for _, name in names) <= 63


@every_case
def test_pods_keep_the_restricted_standard(case: str) -> None:
    for template in workloads(manifests(case)).values():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert {volume.keys() & {"hostPath"} == set() for volume in spec["volumes"]} == {True}


@every_case
def test_every_mount_has_its_volume_and_every_volume_its_source(case: str) -> None:
    there = {manifest["metadata"]["name"] for manifest in kinds(manifests(case), "ConfigMap")}
    for template in workloads(manifests(case)).values():
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert {mount["name"] for mount in template["spec"]["containers"][0]["volumeMounts"]} == volumes.keys()
        assert volumes["line"]["configMap"]["name"] in there


@every_case
def test_the_mounted_configuration_is_a_valid_line(case: str, tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    for manifest in kinds(manifests(case), "ConfigMap"):
        path.write_text(manifest["data"]["line.yaml"], encoding="utf-8")
        line = load_config(path, environ={})
        for name in ("capture", "infer"):
            for template in (one for key, one in workloads(manifests(case)).items() if f"-{name}" in key):
                [port] = template["spec"]["containers"][0]["ports"]
                assert port["containerPort"] == line.server.port
                assert template["spec"]["terminationGracePeriodSeconds"] >= line.shutdown.timeout_s + 5


def test_secrets_are_named_and_never_written() -> None:
    assert kinds(manifests("everything"), "Secret") == []
    spec = pod("everything", "infer")["spec"]
    [username] = [entry for entry in spec["containers"][0]["env"] if entry["name"] == "KAFKA_USERNAME"]
    assert username["valueFrom"]["secretKeyRef"] == {"name": "kafka-login", "key": "username"}
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["secret-cameras"]["mountPath"] == "/run/secrets/cameras"
    assert mounts["heads"]["readOnly"] is True
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_the_autoscaler_looks_at_the_topic_and_group_that_workers_read(tmp_path: Path) -> None:
    [scaled] = kinds(manifests("everything"), "ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    path = tmp_path / "line.yaml"
    path.write_text(LINE_TEXT, encoding="utf-8")
    line = load_config(path, environ=environment(pod("everything", "infer")["spec"]["containers"][0]))
    assert line.topic_reader is not None
    assert line.kafka is not None
    assert trigger["metadata"]["topic"] == frames_topic(line) == "plant-7.frames.v1"
    assert trigger["metadata"]["consumerGroup"] == line.topic_reader.group == "night"
    assert trigger["metadata"]["offsetResetPolicy"] == line.topic_reader.start
    assert trigger["metadata"]["bootstrapServers"] == ",".join(line.kafka.bootstrap)
    assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_the_autoscaler_starts_no_more_workers_than_there_are_partitions() -> None:
    [scaled] = kinds(manifests("everything"), "ScaledObject")
    [job] = kinds(manifests("everything"), "Job")
    args = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--partitions") + 1] == str(scaled["spec"]["maxReplicaCount"]) == "24"
    assert args[args.index("--replication") + 1] == "3"
    [infer] = [one for one in kinds(manifests("everything"), "Deployment") if one["metadata"]["name"].endswith("infer")]
    assert scaled["spec"]["scaleTargetRef"]["name"] == infer["metadata"]["name"]
    assert "replicas" not in infer["spec"]


def test_no_camera_is_captured_twice() -> None:
    for case, names in (("as it comes", ["capture"]), ("capture split", ["capture-hall-1", "capture-hall-2"])):
        deployments = {one["metadata"]["name"]: one["spec"] for one in kinds(manifests(case), "Deployment")}
        captures = {name: spec for name, spec in deployments.items() if "-capture" in name}
        assert sorted(captures) == [f"line-clearline-{name}" for name in names]
        for spec in captures.values():
            assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_disruption_budget_holds_the_inference_pods_and_no_others() -> None:
    [budget] = kinds(manifests("as it comes"), "PodDisruptionBudget")
    wanted = budget["spec"]["selector"]["matchLabels"].items()
    held = [
        name for name, pod in workloads(manifests("as it comes")).items() if wanted <= pod["metadata"]["labels"].items()
    ]
    assert held == ["line-clearline-infer"]


@every_case
def test_selectors_find_the_pods_they_are_made_for(case: str) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in workloads(manifests(case)).items()}
    for deployment in kinds(manifests(case), "Deployment"):
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        assert [name for name, own in labels.items() if wanted <= own.items()] == [deployment["metadata"]["name"]]
    for manifest in [*kinds(manifests(case), "Service"), *kinds(manifests(case), "NetworkPolicy")]:
        spec = manifest["spec"]
        wanted = (spec["podSelector"]["matchLabels"] if "podSelector" in spec else spec["selector"]).items()
        assert [name for name, own in labels.items() if wanted <= own.items()] != []


def test_network_policies_let_workers_reach_every_broker() -> None:
    for policy in kinds(manifests("everything"), "NetworkPolicy"):
        brokers = [rule for rule in policy["spec"]["egress"] if rule.get("to") == [{"podSelector": {}}]]
        assert [port["port"] for rule in brokers for port in rule["ports"]] == [9092, 9093]


def test_a_gpu_is_asked_for_together_with_the_image_that_can_use_it() -> None:
    [container] = pod("with a GPU", "infer")["spec"]["containers"]
    assert container["image"] == f"clearline:{PROJECT['project']['version']}-cuda"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod("with a GPU", "capture")["spec"]["containers"][0]["image"].endswith("-cpu")
