"""Damage files, read them, and see that each is read or refused in one line: no crash, no hang, no bomb, no noise.

Honest files are damaged by what is known of their build (:data:`Damage`), hypothesis chooses where and how. Each input
is judged by :class:`Watch`, and the first input of each failure is kept for the corpus.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import logging
import os
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aekit.core.damage import ignore_harmless
from aekit.errors import AekitError

SECONDS = 2.0
# What a reader may take beside twice its honest file: a packed file may hold 16 MiB whatever its size
# (aekit.core.damage), of which there are up to six copies where transparency is laid on white, or voxels become
# float32.
FREE_BYTES = 96 << 20
MOST_ADDRESSES = 1 << 30  # beyond those in use: what asks for more fails at once
FAILED = Path(__file__).resolve().parents[2] / "runs" / "faults" / "failed"
CORPUS = Path(__file__).parent / "corpus"

Draw = Callable[[st.SearchStrategy[Any]], Any]
Damage = Callable[[Draw], bytes]

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
HOSTILE = "\x1b[31m\x07\n\u202e<script>alert(1)</script>'\""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 1.5, 1e308, -1e308, 2**31, 2**63, 10**30, 10**400, float("nan"), float("inf"),
    "", "0",
    "-1", "x", "vae", "brain", "blocks", "conv", HOSTILE, "\0", "\ud800", "x" * 3000, "../../../etc/passwd", [], {},
    [[]], [None],
    [0], [1, 2, 3], ["x"], [{}], {"": {}}, {"x": 1}, [10**12] * 3, [1, 65536, 65536],
)  # fmt: skip
CELLS = (
    "", " ", "0", "-1", "1e999", "-inf", "nan", "NaN", "n/a", "1" * 400, "9" * 5000, "1,5", "1.234.567,8", "0x10", "١٢",
    '"', '""', '"a', "a\tb", "\0", "\x1b[31m", "\u202e", "\ufeff", "=1+1", "../../etc/passwd", "/etc/passwd",
    "<script>",
    "x" * 70000, "\ud800", "M", "F", "2", "²", "1_000", "True", "34y", ">89", "sub-01", "#",
)  # fmt: skip


# --- damage ---


def bent(draw: Draw, data: bytes) -> bytes:
    """Return bytes after one to three accidents."""
    for _ in range(draw(st.integers(1, 3))):
        data = _ACCIDENTS[draw(st.integers(0, len(_ACCIDENTS) - 1))](draw, data)
    return data


def _place(draw: Draw, data: bytes) -> int:
    # Headers stand at the beginning, and what they say is most of what can go wrong.
    end = min(len(data), 64) if draw(st.booleans()) else len(data)
    return int(draw(st.integers(0, max(0, end - 1))))


def _flip(draw: Draw, data: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :] if data else data


def _cut(draw: Draw, data: bytes) -> bytes:
    return data[: _place(draw, data)]


def _delete(draw: Draw, data: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + data[at + draw(st.integers(1, 16)) :]


def _insert(draw: Draw, data: bytes) -> bytes:
    at = _place(draw, data)
    return data[:at] + draw(st.binary(min_size=1, max_size=16)) + data[at:]


def _repeat(draw: Draw, data: bytes) -> bytes:
    at, length = _place(draw, data), draw(st.integers(1, 64))
    return data[:at] + data[at : at + length] * draw(st.integers(2, 50)) + data[at + length :]


def _overwrite(draw: Draw, data: bytes) -> bytes:
    at, size = _place(draw, data), draw(st.sampled_from((1, 2, 4, 8)))
    value = draw(st.sampled_from(EXTREMES)) % 256**size
    return data[:at] + value.to_bytes(size, draw(st.sampled_from(("little", "big")))) + data[at + size :]


def _move(draw: Draw, data: bytes) -> bytes:
    at, to, length = _place(draw, data), _place(draw, data), draw(st.integers(1, 32))
    return data[:to] + data[at : at + length] + data[to + length :]


_ACCIDENTS = (_flip, _cut, _delete, _insert, _repeat, _overwrite, _overwrite, _move)


def raw(data: bytes) -> Damage:
    """Return what bends bytes as they are."""
    return lambda draw: bent(draw, data)


def gzipped(damage: Damage) -> Damage:
    """Return what packs damaged bytes, so that the packing is whole."""
    return lambda draw: gzip.compress(damage(draw), 1, mtime=0)


def zipped(members: dict[str, bytes]) -> Damage:
    """Return what damages a member of an archive that is whole itself, or the member's name."""

    def damage(draw: Draw) -> bytes:
        name = draw(st.sampled_from(sorted(members)))
        bad = bent(draw, members[name])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, data in members.items():
                archive.writestr(each, bad if each == name else data)
        return packed.getvalue()

    return damage


def _nodes(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nodes(inner, (*at, key))


def _changed(value: Any, at: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    value = json.loads(json.dumps(value))
    inner = value
    for key in at[:-1]:
        inner = inner[key]
    change(inner, at[-1])
    return value


def json_value(value: Any) -> Callable[[Draw], Any]:
    """Return what changes one or two nodes of a JSON value: others, none, or under another name."""

    def damage(draw: Draw) -> Any:
        bad = value
        for _ in range(draw(st.integers(1, 2))):
            at = draw(st.sampled_from([node for node in _nodes(bad) if node] or [()]))
            other = draw(st.sampled_from(VALUES))
            if not at:
                return other
            how = draw(st.integers(0, 9))

            def change(inner: Any, key: Any, how: int = how, other: Any = other) -> None:
                if how == 0:
                    del inner[key]
                elif how == 1 and isinstance(inner, dict):
                    inner[HOSTILE] = inner.pop(key)
                elif how == 2:
                    inner[key] = [inner[key]]
                else:
                    inner[key] = other

            bad = _changed(bad, at, change)
        return bad

    return damage


def json_text(value: Any) -> Damage:
    """Return what damages JSON as a value, so that it is still JSON."""
    change = json_value(value)
    return lambda draw: json.dumps(change(draw)).encode()


def safetensors_header(data: bytes) -> Damage:
    """Return what changes the header of a safetensors file, or the JSON in its metadata, and leaves the rest right."""
    n_head = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + n_head]), data[8 + n_head :]
    own = json.loads(head["__metadata__"]["aekit"]) if "aekit" in head.get("__metadata__", {}) else None
    change_head, change_own = json_value(head), json_value(own)

    def damage(draw: Draw) -> bytes:
        bad = head
        if own is not None and draw(st.integers(0, 3)):
            bad = {**head, "__metadata__": {"aekit": json.dumps(change_own(draw))}}
        else:
            bad = change_head(draw)
        text = json.dumps(bad).encode()
        return len(text).to_bytes(8, "little") + text + body

    return damage


def npy_header(data: bytes) -> Damage:
    """Return what changes a number or a word in the header of a .npy file."""
    n_head = struct.unpack("<H", data[8:10])[0]
    text, body = data[10 : 10 + n_head].decode(), data[10 + n_head :]
    words = [match.span() for match in re.finditer(r"\d+|'[^']*'|True|False|[(){},:]", text)]
    others = (
        "0", "-1", "1", "99999999999", str(2**63), str(2**64), "9" * 5000, "1.5", "'|O'", "'<f8'", "'|u1'", "'<f2'",
        "'|S0'",
        "'<U9999999'", "'|V9'", "[('a','|O')]", "'<M8[s]'", "''", "None", "(" * 300, "()", "(,)", "True", "[]",
        "'\x1b'", "()()",
    )  # fmt: skip

    def damage(draw: Draw) -> bytes:
        start, stop = draw(st.sampled_from(words))
        bad = (text[:start] + draw(st.sampled_from(others)) + text[stop:]).encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(bad) % 65536) + bad + body

    return damage


def png_chunks(data: bytes) -> Damage:
    """Return what damages a chunk of a PNG and gives it the right checksum, or repeats or drops it."""
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length

    def damage(draw: Draw) -> bytes:
        which = draw(st.integers(0, len(chunks) - 1))
        kind, inside = chunks[which]
        how = draw(st.integers(0, 7))
        if kind == b"IDAT" and how < 4:
            bad = [(kind, zlib.compress(bent(draw, zlib.decompress(inside))))]
        else:
            bad = [] if how == 5 else [(kind, inside)] * 3 if how == 6 else [(kind, bent(draw, inside))]
        pieces = [*chunks[:which], *bad, *chunks[which + 1 :]]
        return data[:8] + b"".join(
            struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in pieces
        )

    return damage


def table_cells(data: bytes, separator: str = ",") -> Damage:
    """Return what changes one to three cells of a table, or adds and drops one."""
    rows = [line.split(separator) for line in data.decode().splitlines()]

    def damage(draw: Draw) -> bytes:
        bad = [list(row) for row in rows]
        for _ in range(draw(st.integers(1, 3))):
            row = bad[draw(st.integers(0, len(bad) - 1))]
            cell = draw(st.sampled_from(CELLS))
            how, at = draw(st.integers(0, 5)), draw(st.integers(0, max(0, len(row) - 1)))
            if how == 0 and row:
                del row[at]
            elif how == 1:
                row.insert(at, cell)
            elif row:
                row[at] = cell
        return "\n".join(separator.join(row) for row in bad).encode(errors="surrogatepass")

    return damage


# --- judgement ---


@dataclass
class Counts:
    """What came of many inputs."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    most_allocated: int = 0
    failures: dict[str, bytes] = field(default_factory=dict)


class _Noise(logging.Handler):
    """Keeps what Python would print of a library's warnings where nobody listens: pytest listens always."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger is not logging.root:
            if logger.handlers:
                return
            logger = logger.parent
        self.said.append(record.getMessage())


class Hang(Exception):
    """An input took ten times as long as allowed."""


class Watch:
    """Reads inputs one by one, and tells what is wrong with how each was taken.

    Memory is what the kernel says was touched beyond what was in use before, whoever asked for it, Python or a library
    in C; what is asked for and not touched meets a limit of addresses.
    """

    def __enter__(self) -> Watch:
        self._stack = contextlib.ExitStack()
        self._stderr = self._stack.enter_context(tempfile.TemporaryFile())
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(self._stderr.fileno(), 2)
        self._stack.callback(os.close, kept)
        self._stack.callback(os.dup2, kept, 2)
        self._warnings = self._stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)  # as Python does by itself
        ignore_harmless()
        self._noise = _Noise()
        logging.root.addHandler(self._noise)
        self._stack.callback(logging.root.removeHandler, self._noise)
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + MOST_ADDRESSES, hard))
        self._stack.callback(resource.setrlimit, resource.RLIMIT_AS, (soft, hard))
        before = signal.signal(signal.SIGALRM, _hang)
        self._stack.callback(signal.signal, signal.SIGALRM, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def judge(self, read: Callable[[Path], object], path: Path, counts: Counts, *, most: int = FREE_BYTES) -> str:
        """Return what is wrong, in one line that is the same for the same fault; nothing if all is well."""
        problem = ""
        Path("/proc/self/clear_refs").write_text("5")
        rss = _status("VmRSS")
        wall, busy = time.perf_counter(), time.process_time()
        signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
        try:
            read(path)
            counts.read += 1
        except AekitError as error:
            counts.refused += 1
            problem = _bad_message(error, path)
        except Hang as error:
            problem = f"hangs at {_where(error)}"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            problem = f"{type(error).__name__} at {_where(error)}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = min(time.perf_counter() - wall, time.process_time() - busy)
        allocated = _status("VmHWM") - rss
        counts.inputs += 1
        counts.slowest_s = max(counts.slowest_s, seconds)
        counts.most_allocated = max(counts.most_allocated, allocated)
        if seconds > SECONDS and not problem:
            problem = "takes more than two seconds"
        if allocated > most and not problem:
            problem = "takes more memory than allowed"
        return problem or self._said()

    def _said(self) -> str:
        sys.stderr.flush()
        said = ""
        if size := os.fstat(self._stderr.fileno()).st_size:
            said = f"stderr: {os.pread(self._stderr.fileno(), 200, 0)!r}" if size else ""
            os.ftruncate(self._stderr.fileno(), 0)
            os.lseek(self._stderr.fileno(), 0, 0)
        if self._warnings:
            first = self._warnings[0]
            said = f"{first.category.__name__} from {Path(first.filename).name}: {str(first.message)[:80]}"
            self._warnings.clear()
        if self._noise.said:
            said = f"log: {self._noise.said[0][:100]}"
            self._noise.said.clear()
        return said


def _hang(*_: object) -> None:
    raise Hang


def _status(name: str) -> int:
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/aekit/" in frame.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}"


def _bad_message(error: AekitError, path: Path) -> str:
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        # Python's parser, which numpy reads headers with, says so of many brackets within each other, too.
        if isinstance(cause, MemoryError) and traceback.extract_tb(cause.__traceback__)[-1].name != "parse":
            return f"asks for more memory than there is at {_where(cause)}"
        cause = cause.__cause__ or cause.__context__
    where = _where(error)
    if not text.isprintable():
        return f"control characters in the message at {where}"
    if len(text) > 4000:
        return f"a message of thousands of characters at {where}"
    if not re.match(r"\S.*: .*; \S", text):
        return f"no path, reason and fix in the message at {where}: {text[:80]}"
    if path.name not in text and str(path.parent) not in text:
        return f"no path in the message at {where}: {text[:80]}"
    return ""


# --- the search ---


@dataclass(frozen=True)
class Target:
    """One reader, and how honest files for it are damaged.

    Attributes:
        name: For the test and the corpus.
        file: Name of the file, whose suffix a reader may look at.
        honest: Contents that must be read.
        damage: Ways to damage them.
        read: The reader.
        n_long: Inputs of the long form.
    """

    name: str
    file: str
    honest: Sequence[bytes]
    damage: Sequence[Damage]
    read: Callable[[Path], object]
    n_long: int = 4000

    def __str__(self) -> str:
        return self.name


def fuzz(target: Target, folder: Path, n: int, *, derandomize: bool = True) -> Counts:
    """Return what came of ``n`` damaged inputs; those that failed are in ``runs/faults/failed``, too."""
    path = folder / target.file
    counts = Counts()
    most = FREE_BYTES + 2 * max(map(len, target.honest), default=0)

    @settings(
        max_examples=n,
        derandomize=derandomize,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def search(data: st.DataObject) -> None:
        content = data.draw(st.sampled_from(range(len(target.damage))))
        bad = target.damage[content](data.draw)
        path.write_bytes(bad)
        if problem := watch.judge(target.read, path, counts, most=most):
            counts.failures.setdefault(problem, bad)

    with Watch() as watch:
        for content in target.honest:
            path.write_bytes(content)
            target.read(path)  # imports and caches, which are not the file's
        search()
    for problem, bad in counts.failures.items():
        FAILED.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(problem.encode()).hexdigest()[:10]
        (FAILED / target.name).mkdir(exist_ok=True)
        (FAILED / target.name / digest).write_bytes(bad)  # to be moved to the corpus, once it is known why
        (FAILED / f"{target.name}-{digest}.txt").write_text(problem + "\n")
    return counts


def replay(target: Target, folder: Path) -> Counts:
    """Return what comes of the inputs that failed once: the files in the target's folder of the corpus."""
    counts = Counts()
    path = folder / target.file
    with Watch() as watch:
        for content in target.honest:
            path.write_bytes(content)
            target.read(path)
        for kept in sorted((CORPUS / target.name).glob("*")):
            path.write_bytes(kept.read_bytes())
            if problem := watch.judge(target.read, path, counts):
                counts.failures[f"{kept.name}: {problem}"] = kept.read_bytes()
    return counts


def expect_clean(counts: Counts) -> None:
    """Fail with every distinct fault that was found."""
    assert not counts.failures, "\n" + "\n".join(sorted(counts.failures))


def record_counts(record: Callable[..., None], name: str, counts: Counts) -> None:
    """Write down what the long form of a target counted."""
    record(
        f"fuzz-{name}",
        inputs=counts.inputs,
        refused=counts.refused,
        read=counts.read,
        slowest_s=round(counts.slowest_s, 3),
        most_allocated=counts.most_allocated,
    )
