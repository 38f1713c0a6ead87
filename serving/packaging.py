"""The served model as a Bento: code, model folder, settings and exact requirements in one.

No users' histories are in it: an image is copied around. They are mounted (docs/privacy.md).

In: the champion (or ``models/hybrid``), this code, ``params.yaml``, the locked requirements.
Out: a Bento in BentoML's store, with a software bill of materials; ``bentoml serve`` and
``bentoml containerize`` take its tag.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import bentoml
import yaml
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from components.credentials import check_text
from components.language.packaged import WRITERS, converted_folder, packaged_folder
from components.lockfile import FILES, exact_requirements, locked_digests
from components.manifest import verify_manifest, write_manifest
from components.settings import Settings, read_params
from serving import PACKAGED
from serving.models.versions import POINTER, UNREGISTERED, find_champion

CODE = ("components", "serving")
SBOM = "sbom.cdx.json"
SERVICE = "serving.service:Bowerbird"


def write_sbom(file: Path, more: Iterable[str] = ()) -> None:
    """Write the software bill of materials (CycloneDX 1.6, JSON) of the locked packages.

    The same packages give the same file: it has neither a time nor a random number.

    more: ``name==version`` of further packages that the Bento has files of.
    """
    bom = Bom()
    digests = locked_digests([check_text(one) for one in FILES]) | {one: [] for one in more}
    for pinned, sha256 in digests.items():
        name, _, version = pinned.partition("==")
        purl = PackageURL("pypi", name=name, version=version)
        place = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(f"https://pypi.org/simple/{name}/"),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in sha256],
        )
        bom.components.add(
            Component(
                type=ComponentType.LIBRARY,
                name=name,
                version=version,
                bom_ref=str(purl),
                purl=purl,
                external_references=[place],
            )
        )
    written = json.loads(
        make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    )
    del written["serialNumber"], written["metadata"]["timestamp"]
    file.write_text(json.dumps(written, indent=2), encoding="utf-8")


def package(settings: Settings, root: Path) -> str:
    """Return the tag of a new Bento that serves the champion.

    Raises:
        FileNotFoundError: there is no model yet.
        ManifestError: the model folder is damaged.
        ValueError: settings or requirements hold a credential, or the writer's package is missing.
    """
    champion = find_champion(root)
    os.umask(0o022)  # a Bento holds no personal data, and a container may run as any user
    with tempfile.TemporaryDirectory(prefix="bowerbird-bento-") as name:
        staging = Path(name)
        for folder in CODE:
            shutil.copytree(
                PACKAGED / folder,
                staging / folder,
                ignore=shutil.ignore_patterns("__pycache__", ".*"),
            )
        verify_manifest(champion.folder)
        # Model folders of earlier versions hold their users' histories, the reference's too.
        personal = shutil.ignore_patterns("profiles.parquet", "reference")
        shutil.copytree(champion.folder, staging / UNREGISTERED, ignore=personal)
        write_manifest(staging / UNREGISTERED)
        params = root / "params.yaml"
        raw = read_params(params if params.exists() else PACKAGED / "params.yaml")
        # Without the comments, which may hold credentials.
        (staging / "params.yaml").write_text(
            yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        requirements = "\n".join(exact_requirements())
        (staging / "requirements.txt").write_text(requirements, encoding="utf-8")
        models: list[str] = []
        writer = settings.serve.writer.get_secret_value()
        if writer in WRITERS:  # a Bento's requirements have no packages of models
            shutil.copytree(packaged_folder(writer, root), converted_folder(writer, staging))
            models += WRITERS[writer].files
        write_sbom(staging / SBOM, models)
        pointer = staging / POINTER
        pointer.parent.mkdir(parents=True)
        pointer.write_text(
            json.dumps({"version": champion.version, "folder": str(UNREGISTERED)}), encoding="utf-8"
        )
        for path in staging.rglob("*"):  # instead of the private modes of the copied folders
            path.chmod(0o755 if path.is_dir() else 0o644)
        bento = bentoml.build(
            SERVICE,
            build_ctx=str(staging),
            labels={"model-version": champion.version, "model-name": settings.register_.model_name},
            # The lock is exact already: nothing is resolved again at build time.
            python={"requirements_txt": "requirements.txt", "lock_packages": False},
        )
    return str(bento.tag)
