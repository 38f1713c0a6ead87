"""``deploy/kubernetes``: against the API's schema, and what its parts promise each other."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from components.settings import load_settings
from tests.conftest import REPOSITORY
from tests.kubernetes import check_manifest

FOLDER = REPOSITORY / "deploy/kubernetes"
Manifests = dict[tuple[str, str], dict[str, Any]]
"""By kind and name."""


def loaded(text: str) -> Manifests:
    found = [one for one in yaml.safe_load_all(text) if one]
    made = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(made) == len(found), "a name is there twice"
    return made


def resolved(folder: Path) -> Manifests:
    """Return what kustomize makes of a folder with resources, labels and images alone."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert kustomization.pop("kind") == "Kustomization"
    assert kustomization.keys() == {"apiVersion", "resources", "labels", "images"}
    made: Manifests = {}
    for name in kustomization["resources"]:
        part = loaded((folder / name).read_text())
        assert not made.keys() & part.keys()
        made |= part
    images = {one["name"]: f"{one['newName']}:{one['newTag']}" for one in kustomization["images"]}
    for one in made.values():
        for label in kustomization["labels"]:
            assert label.keys() == {"pairs"}
            one["metadata"].setdefault("labels", {}).update(label["pairs"])
        for container in pod(one).get("containers", []):
            container["image"] = images.get(container["image"], container["image"])
    return made


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a workload's pod, {} for other kinds."""
    return manifest.get("spec", {}).get("template", {}).get("spec", {})


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return resolved(FOLDER)


def test_kustomize_makes_the_same(manifests: Manifests) -> None:
    """Where there is a kustomize; the other tests read the files themselves."""
    commands = {"kustomize": ["kustomize", "build"], "kubectl": ["kubectl", "kustomize"]}
    for program, command in commands.items():
        if shutil.which(program):
            done = subprocess.run([*command, FOLDER], capture_output=True, text=True, check=True)
            assert loaded(done.stdout) == manifests


def test_all_manifests_fit_the_apis_schema(manifests: Manifests) -> None:
    assert {kind for kind, _ in manifests} == {
        *("ConfigMap", "Deployment", "PersistentVolumeClaim", "PodDisruptionBudget"),
        *("Service", "ServiceAccount"),
    }
    for one in manifests.values():
        check_manifest(one)
        wrong = copy.deepcopy(one)
        wrong["metadata"]["lables"] = {}
        with pytest.raises(jsonschema.ValidationError, match="lables"):
            check_manifest(wrong)


def test_containers_have_no_rights_that_they_do_not_need(manifests: Manifests) -> None:
    workloads = [one for (kind, _), one in manifests.items() if kind == "Deployment"]
    assert len(workloads) == 2
    for one in workloads:
        spec = pod(one)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert ("ServiceAccount", spec["serviceAccountName"]) in manifests
        (container,) = spec["containers"]
        rights = container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert container["image"].startswith("registry.example/")
        assert {m["name"] for m in container["volumeMounts"]} == {
            v["name"] for v in spec["volumes"]
        }
    endpoint = pod(manifests["Deployment", "bowerbird-endpoint"])["containers"][0]
    assert endpoint["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = [Path(one["mountPath"]) for one in endpoint["volumeMounts"]]
    written = {one["name"]: Path(one["value"]) for one in endpoint["env"]}
    for place in (written["BOWERBIRD_ROOT"] / "var", written["BENTOML_HOME"], written["HOME"]):
        assert any(place.is_relative_to(one) for one in mounts), place


def test_credentials_come_from_secrets_that_the_shop_makes(manifests: Manifests) -> None:
    assert not [name for kind, name in manifests if kind == "Secret"]
    secrets = {}
    for name in ("bowerbird-endpoint", "bowerbird-worker"):
        (container,) = pod(manifests["Deployment", name])["containers"]
        config, secret = container["envFrom"]
        assert ("ConfigMap", config["configMapRef"]["name"]) in manifests
        secrets[name] = secret["secretRef"]  # not optional: a pod without it does not start
    assert secrets == {
        "bowerbird-endpoint": {"name": "bowerbird-endpoint"},
        "bowerbird-worker": {"name": "bowerbird"},  # as `bowerbird job-template` has it
    }


def test_the_endpoints_parts_name_each_other(manifests: Manifests) -> None:
    deployment = manifests["Deployment", "bowerbird-endpoint"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    service = manifests["Service", "bowerbird-endpoint"]["spec"]
    budget = manifests["PodDisruptionBudget", "bowerbird-endpoint"]["spec"]
    selectors = (
        service["selector"],
        *(one["selector"]["matchLabels"] for one in (deployment, budget)),
    )
    for selector in selectors:
        assert selector.items() <= labels
        worker = manifests["Deployment", "bowerbird-worker"]["spec"]["template"]["metadata"]
        assert not selector.items() <= worker["labels"].items()
    (container,) = deployment["template"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports[service["ports"][0]["targetPort"]] == 3000
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness")}
    assert {one["path"] for one in probes.values()} == {"/readyz"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert deployment["replicas"] > budget["maxUnavailable"]
    volumes = pod(manifests["Deployment", "bowerbird-worker"])["volumes"]
    claim = next(one for one in volumes if one["name"] == "shop")["persistentVolumeClaim"]
    assert ("PersistentVolumeClaim", claim["claimName"]) in manifests


def test_the_settings_are_settings(manifests: Manifests, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith("BOWERBIRD_")]:
        monkeypatch.delenv(name)
    before = load_settings(REPOSITORY / "params.yaml")
    data = manifests["ConfigMap", "bowerbird-endpoint"]["data"]
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    found = load_settings(REPOSITORY / "params.yaml")
    assert found.serve.allowed_hosts == json.loads(data["BOWERBIRD_SERVE__ALLOWED_HOSTS"])
    changed = {name for name in data if "__" in name}
    assert changed == {"BOWERBIRD_SERVE__ALLOWED_HOSTS"}
    assert before.serve != found.serve
