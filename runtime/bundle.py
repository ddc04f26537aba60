"""A release: one ONNX graph, its manifest and its buckets in one folder. Nothing in it can run code of its own.

::

    releases/<tag>/model.onnx      inputs "x" float32 [N, T, C], "ctx" float32 [N, 8]; output "p" float32 [N, 1]
                   manifest.json   what it was made from and for, with the sha256 of the other files
                   buckets.csv     what each market state earned, and what share of the full size it gets

A bundle is read whole into memory, checked, and only then used; anything that does not fit is refused with a sentence.
Which one serves: `runtime.release_state`.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from feature_repo.errors import InputError
from feature_repo.fields import CHANNELS, CTX_NAMES

from .buckets import BucketTable, read_buckets
from .manifest import MANIFEST_NAME, Manifest, manifest_from_json, manifest_to_json

__all__ = [
    "BUCKETS_NAME",
    "MODEL_NAME",
    "Bundle",
    "Manifest",
    "Release",
    "column_facts",
    "load_bundle",
    "read_release",
    "write_bundle",
]

MODEL_NAME, BUCKETS_NAME = "model.onnx", "buckets.csv"
_FILES = (MODEL_NAME, BUCKETS_NAME)
# A protobuf entry with the key "location": a tensor kept in a file of its own, which no hash here would cover.
_EXTERNAL_DATA = b"\n\x08location"
_COLUMNS = {"x": CHANNELS, "ctx": CTX_NAMES}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked release, ready to be asked.

    Attributes
    ----------
    path : the folder it was read from, links resolved
    manifest : what it is
    session : the graph, on one thread
    buckets : the share of the full size by market state; empty, which is nothing anywhere, for a candidate
    """

    path: Path
    manifest: Manifest
    session: ort.InferenceSession
    buckets: BucketTable = field(default_factory=BucketTable, kw_only=True)
    _bound: dict[int, _Bound] = field(init=False, repr=False, compare=False, default_factory=dict)  # by the id of x

    def predict(self, x: np.ndarray, ctx: np.ndarray) -> np.ndarray:
        """Probability of the target barrier.

        Parameters
        ----------
        x : float32 [N, T, C], aligned to each candidate's side (``fields.align``), not normalised
        ctx : float32 [N, 8], ``context_rows``

        Returns
        -------
        float32 [N]
        """
        bound = self._bound.get(id(x))
        if bound is not None and bound.ctx is ctx:
            return bound.answer(self.session)
        return self.session.run(("p",), {"x": x, "ctx": ctx})[0][:, 0]

    def bind(self, x: np.ndarray, ctx: np.ndarray) -> None:
        """Have ``predict`` read these two arrays where they lie whenever it is given them, filled in anew or not.

        The answer is the same, some 15 microseconds sooner. One call at a time; they are kept as long as the bundle.

        Parameters
        ----------
        x, ctx : as ``predict`` takes them, in C order; N stays as it is
        """
        self._bound[id(x)] = _Bound(self.session, x, ctx)


class _Bound:
    """A pair of arrays that the graph reads where they lie, and the one where it leaves its answer."""

    __slots__ = ("_binding", "_p", "_x", "ctx")

    def __init__(self, session: ort.InferenceSession, x: np.ndarray, ctx: np.ndarray) -> None:
        self._x, self.ctx, self._p = x, ctx, np.zeros((len(x), 1), np.float32)  # its id is x's own while x is kept
        self._binding = session.io_binding()
        self._binding.bind_cpu_input("x", x)
        self._binding.bind_cpu_input("ctx", ctx)
        self._binding.bind_output("p", "cpu", 0, np.float32, self._p.shape, self._p.ctypes.data)

    def answer(self, session: ort.InferenceSession) -> np.ndarray:
        self._p.fill(np.nan)  # never an earlier answer, whatever the graph leaves undone
        session.run_with_iobinding(self._binding)
        return self._p[:, 0].copy()


def column_facts(*inputs: str) -> dict[str, str]:
    """The columns of a graph's inputs in order, as they stand in its metadata.

    Parameters
    ----------
    inputs : "x" or "ctx"

    Returns
    -------
    dict
        Such as {"columns of x": "ofi_z,ofi_top3_z,..."}.
    """
    return {f"columns of {name}": ",".join(_COLUMNS[name]) for name in inputs}


def write_bundle(folder: Path, *, onnx_bytes: bytes, manifest: Manifest, buckets_csv: str) -> Path:
    """Write a bundle beside ``folder``, check it, and rename it into place.

    Parameters
    ----------
    folder : the bundle's own folder, such as releases/<tag>
    manifest : its ``files`` are filled in here

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    InputError
        When the folder holds anything else than a bundle of the same tag, or the bundle would be refused on loading.
    """
    folder = Path(folder)
    _refuse_other(folder, manifest.tag)
    contents = {MODEL_NAME: onnx_bytes, BUCKETS_NAME: buckets_csv.encode()}
    manifest = replace(manifest, files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})
    contents[MANIFEST_NAME] = manifest_to_json(manifest).encode()
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh, old = beside / "new", beside / "old"
        fresh.mkdir()
        for name, data in contents.items():
            (fresh / name).write_bytes(data)
        load_bundle(fresh)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _refuse_other(folder: Path, tag: str) -> None:
    if folder.is_symlink():
        raise InputError(f"{folder} is a link", "a folder of its own for each release", "Write to the tag's own folder")
    if not folder.exists():
        return
    try:
        there = manifest_from_json((folder / MANIFEST_NAME).read_text(), name=str(folder / MANIFEST_NAME)).tag
    except (OSError, ValueError):
        there = None
    if there != tag:
        what = "something that is no bundle" if there is None else f"the bundle {there!r}"
        raise InputError(
            f"{folder} holds {what}, not {tag!r}", "a new folder, or one with the same tag", "Choose another folder"
        )


@dataclass(frozen=True, slots=True)
class Release:
    """What a release is, without its graph.

    Attributes
    ----------
    path : the folder it was read from, links resolved
    model, buckets_csv : the files as they are
    buckets : as in :class:`Bundle`
    """

    path: Path
    manifest: Manifest
    model: bytes
    buckets_csv: str
    buckets: BucketTable


def read_release(path: Path) -> Release:
    """Read a release and check it against its manifest; the graph is not loaded.

    Parameters
    ----------
    path : as ``load_bundle`` takes it

    Raises
    ------
    InputError
        When anything is missing, damaged, of another schema, or made for another field catalogue.
    """
    given, folder = Path(path), Path(path).resolve()
    if not folder.is_dir():
        raise InputError(
            f"no bundle at {given}",
            f"a folder with {MANIFEST_NAME}, {' and '.join(_FILES)}",
            _instead_of(given),
        )
    manifest = manifest_from_json(_read(folder, MANIFEST_NAME).decode(errors="replace"), name=str(given))
    if set(manifest.files) != set(_FILES):
        raise InputError(
            f"{given}: its manifest lists the files {sorted(manifest.files)}",
            f"exactly {sorted(_FILES)}",
            "Get the release again from where it was made",
        )
    contents = {name: _read(folder, name) for name in _FILES}
    for name, data in contents.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[name]:
            raise InputError(
                f"{given}/{name} is not the file that the manifest was written for (its sha256 differs)",
                f"sha256 {manifest.files[name]}",
                "Get the release again from where it was made",
            )
    text, buckets = contents[BUCKETS_NAME].decode(errors="replace"), BucketTable()
    if manifest.rollout is not None:  # nothing goes by a candidate's, and a fold's bundle has none
        buckets = read_buckets(text, fee_tier=manifest.fee_tier.name, name=f"{given}/{BUCKETS_NAME}")
    return Release(folder, manifest, contents[MODEL_NAME], text, buckets)


def load_bundle(path: Path) -> Bundle:
    """Read and check a bundle.

    Parameters
    ----------
    path : its folder, or a link to it such as releases/current; a link is followed once, so that all files are of one
        release even if it moves meanwhile

    Raises
    ------
    InputError
        When anything is missing, damaged, of another schema, or made for another field catalogue.
    """
    read = read_release(path)
    session = _session(read.model, read.manifest, str(Path(path)))
    return Bundle(read.path, read.manifest, session, buckets=read.buckets)


def _instead_of(missing: Path) -> str:
    """What to do where there is no bundle: a release that nobody has promoted yet lies beside ``current``."""
    tags = sorted(path.parent.name for path in missing.parent.glob(f"[!.]*/{MANIFEST_NAME}"))
    if missing.name != "current" or not tags:
        return "Train one (make shadow), or check the path"
    others = f" or another of the {len(tags)} there" if len(tags) > 1 else ""
    return f"Give one that is not promoted yet: {missing.parent / tags[0]}{others}"


def _read(folder: Path, name: str) -> bytes:
    file = folder / name
    # A link would lead out of the folder, and the bytes checked would not be the bytes that stay there.
    if file.is_symlink() or not file.is_file():
        raise InputError(
            f"{folder} has no file {name}" + (" (it is a link)" if file.is_symlink() else ""),
            f"{MANIFEST_NAME}, {' and '.join(_FILES)} as plain files",
            "Get the release again from where it was made",
        )
    return file.read_bytes()


def _session(data: bytes, manifest: Manifest, name: str) -> ort.InferenceSession:
    """The graph on one thread, after its shapes, the order of its columns and one answer were checked."""
    wanted = f'inputs "x" [N, {manifest.T}, {manifest.C}] and "ctx" [N, {manifest.ctx}], output "p" [N, 1], float32'
    if _EXTERNAL_DATA in data:
        raise InputError(f"{name}: the graph keeps weights in another file", "one self-contained file", "Export again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # onnxruntime has no common base class for what it raises on a damaged graph
        raise InputError(f"{name}: onnxruntime cannot load the graph ({str(e)[:200]})", wanted, "Export again") from e
    shapes = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    expected = {"x": [manifest.T, manifest.C], "ctx": [manifest.ctx]}
    fits = shapes.keys() == expected.keys() and all(
        kind == "tensor(float)" and len(shape) == 1 + len(expected[n]) and shape[1:] == expected[n]
        for n, (kind, shape) in shapes.items()
    )
    if not fits or [o.name for o in session.get_outputs()] != ["p"]:
        raise InputError(f"{name}: the graph has inputs {shapes}", wanted, "Export again")
    metadata = session.get_modelmeta().custom_metadata_map
    for key, columns in column_facts("x", "ctx").items():
        if metadata.get(key) != columns:
            raise InputError(
                f"{name}: the graph has the {key} {metadata.get(key)}",
                f"{columns}, in this order",
                "Train a new bundle on features of this version",
            )
    for n in (1, 3):
        x, ctx = np.zeros((n, manifest.T, manifest.C), np.float32), np.zeros((n, manifest.ctx), np.float32)
        try:
            p = session.run(None, {"x": x, "ctx": ctx})[0]
        except Exception as e:  # as above
            raise InputError(f"{name}: the graph fails on {n} windows ({str(e)[:200]})", wanted, "Export again") from e
        if p.shape != (n, 1) or p.dtype != np.float32 or not ((p >= 0) & (p <= 1)).all():
            raise InputError(
                f"{name}: the graph answers {p.dtype} {p.shape} {p.ravel()[:3]}", f"{wanted}, in [0, 1]", "Export again"
            )
    return session
