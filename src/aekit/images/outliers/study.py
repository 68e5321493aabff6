"""``aekit outliers``: which images do not belong, appear twice, or have the label of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aekit.core.artifacts import naming_leftovers, write_csv, write_png
from aekit.core.output import Result
from aekit.core.progress import Progress
from aekit.core.torch_settings import keeps_torch_settings
from aekit.errors import AekitError, count
from aekit.images.config import image_of
from aekit.images.data.image_set import ImageSet, Indices
from aekit.images.loaded import LoadedCheckpoint
from aekit.images.neighbours import nearest
from aekit.images.outliers.detection import Detection, Floats, detection, p_values, threshold
from aekit.images.outliers.figure import plot_detection, plot_suspects, plot_unusual
from aekit.images.outliers.request import OF_PRIOR, TRIVIAL, OutlierRequest, Score
from aekit.images.outliers.scores import Reference, Scored, fit_reference, score_images
from aekit.images.outliers.sets import read_inliers, read_others, read_training
from aekit.images.outliers.suspects import Contradicted, Pairs, contradicted_labels, near_duplicates, without_same
from aekit.images.outliers.tables import duplicates_table, labels_table, ranked_table, scores_table
from aekit.images.session import Session

_COMPANIONS = (".csv", "-scores.csv", "-scores.png", "-duplicates.csv", "-labels.csv", "-suspects.png")
_N_NAMED = 3  # images on the terminal
_N_DUPLICATES = 3  # nearest neighbours whose pixels are compared


@dataclass
class _Search:
    """What was found with one checkpoint.

    Attributes:
        request: What was asked for.
        training: The training images.
        fitted_rows: Rows of those that scores are fitted to.
        inliers: Held-out images that belong.
        searched: Images that may hold outliers.
        outliers: Known outliers; None without them.
        own_rows: Row of each searched image among the training images; None if they are others.
        limits: Threshold of each score.
        found: How well each score finds known outliers; empty without them.
        pairs: Near duplicates of the searched images, by the set of the second image.
        n_of_training: Searched images that are training images themselves, of the same file and with its pixels.
        labels: Searched images whose neighbours have another label; None if they have no labels.
        labelled_neighbours: Rows of the neighbours of each searched image among these, (N, k).
    """

    request: OutlierRequest
    training: ImageSet
    fitted_rows: Indices
    inliers: Scored
    searched: Scored
    outliers: Scored | None
    own_rows: Indices | None
    limits: dict[Score, float] = field(default_factory=dict)
    found: dict[Score, Detection] = field(default_factory=dict)
    pairs: dict[str, tuple[ImageSet, Pairs]] = field(default_factory=dict)
    n_of_training: int = 0
    labels: Contradicted | None = None
    labelled_neighbours: Indices = field(default_factory=lambda: np.empty((0, 0), np.int64))

    @property
    def sets(self) -> dict[str, Scored]:
        """Return the scored images by the name of their set: those that are ranked."""
        known = {} if self.outliers is None else {"outliers": self.outliers}
        return {"searched": self.searched, **known}

    @property
    def is_own_inliers(self) -> bool:
        """Return whether the searched images are the held-out inliers themselves."""
        return self.searched is self.inliers


@keeps_torch_settings
def run_outliers(
    session: Session,
    output: Path | None = None,
    request: OutlierRequest | None = None,
    *,
    data: str | None = None,
    outliers: str | None = None,
) -> Iterator[Result]:
    """Yield a contact sheet of the most unusual images (.png) per checkpoint, with tables and further sheets.

    Args:
        session: The checkpoints; its ``data`` are the inliers, None those of the training.
        output: A file for one checkpoint, or a folder; None is next to each checkpoint.
        request: How to look for outliers.
        data: Images that may hold outliers, a name or path; None takes a split of the inliers.
        outliers: Images that are known to be outliers, a name or path; None has no measures of detection.

    Raises:
        AekitError: A model is told classes, images cannot be read or are too few, or a file cannot be written.
    """
    request = request or OutlierRequest()
    for path, record in zip(session.paths, session.records, strict=True):
        if record.model.is_conditional:
            raise AekitError(f"{path}: is told the class of an image, which outliers do not have; use another model")
        if request.rank_by in OF_PRIOR and not record.model.has_prior:
            raise AekitError(
                f"--score {request.rank_by}: {path} is a plain autoencoder, which has no p(x); use complexity"
            )
    if data is None and request.split == "all":
        raise AekitError("--split all: training images and held-out ones are scored apart; use train, val or test")
    name = "outliers" if request.split == "test" else f"outliers-{request.split}"
    inputs = [source for source in (data, outliers) if source is not None]
    targets = session.targets(output, name=name, suffixes=(".png",), inputs=inputs, ends=_COMPANIONS)
    return (
        _search_one(session, checkpoint, target, request, data, outliers)
        for checkpoint, target in zip(session.checkpoints(), targets, strict=True)
    )


def _search_one(
    session: Session,
    checkpoint: LoadedCheckpoint,
    target: Path,
    request: OutlierRequest,
    data: str | None,
    outliers: str | None,
) -> Result:
    search, codes = _score_all(session, checkpoint, request, data, outliers)
    session.progress.update("looking for duplicates", 0, 1)
    _look_for_duplicates(search, codes)
    _look_at_labels(search)
    with naming_leftovers(target, _COMPANIONS, session.progress):
        values = _write(session, checkpoint, target, search)
    _show(session.progress, search)
    return Result(target, values)


def _score_all(
    session: Session, checkpoint: LoadedCheckpoint, request: OutlierRequest, data: str | None, outliers: str | None
) -> tuple[_Search, Floats]:
    """Return the scored images, and the codes of the training images."""
    train, rows = read_training(session, checkpoint, request)
    held_out = read_inliers(session, checkpoint, request)
    others = None if outliers is None else read_others(session, checkpoint, outliers, "--outliers", request.split)
    own_rows, searched = None, held_out
    if data is not None:
        searched = read_others(session, checkpoint, data, "--data", request.split)
    elif request.split != "test":
        searched = session.images(checkpoint, request.split)
        if request.split == "train":
            own_rows = np.full(len(searched), -1, np.int64)
            own_rows[rows] = np.arange(len(rows))
    fitted = train if len(rows) == len(train) else train.subset(rows)
    reference = fit_reference(checkpoint, fitted, seed=request.seed, code=request.code, threads=session.threads)
    inliers = _score(session, checkpoint, reference, held_out, request)
    own = inliers if searched is held_out else _score(session, checkpoint, reference, searched, request, own_rows)
    known = None if others is None else _score(session, checkpoint, reference, others, request)
    search = _Search(request, train, rows, inliers, own, known, own_rows)
    search.limits = {score: threshold(values, request.fpr) for score, values in inliers.scores.items()}
    if known is not None:
        options: dict[str, int] = {"n_resamples": request.bootstrap, "seed": request.seed}
        measured = {score: detection(inliers.scores[score], known.scores[score], **options) for score in known.scores}
        search.found = dict(sorted(measured.items(), key=lambda item: -item[1].auroc.value))
    return search, reference.points.codes


def _score(
    session: Session,
    checkpoint: LoadedCheckpoint,
    reference: Reference,
    images: ImageSet,
    request: OutlierRequest,
    own_rows: Indices | None = None,
) -> Scored:
    session.progress.update(f"scoring {count(len(images), 'image')} of {images.name}", 0, 1)
    options: dict[str, Any] = {"k": request.neighbours, "seed": request.seed, "threads": session.threads}
    options["code"] = request.code
    return score_images(checkpoint, reference, images, own_rows=own_rows, **options)


def _look_for_duplicates(search: _Search, reference_codes: Floats) -> None:
    """Compare the pixels of searched images with those nearest to them, among themselves and in training."""
    scored, most = search.searched, search.request.duplicates
    if len(scored.images) > 1:
        rows = np.arange(len(scored.images))
        own = nearest(scored.codes, scored.codes, _N_DUPLICATES, own_rows=rows)
        search.pairs["searched"] = (scored.images, near_duplicates(scored.images, None, own, most))
    if search.own_rows is None:
        among = nearest(reference_codes, scored.codes, _N_DUPLICATES)
        among = among._replace(rows=search.fitted_rows[among.rows])
        pairs, search.n_of_training = without_same(
            near_duplicates(scored.images, search.training, among, most), scored.images, search.training
        )
        search.pairs["training"] = (search.training, pairs)


def _look_at_labels(search: _Search) -> None:
    """Compare the labels of searched images with those of their neighbours."""
    images, codes = search.searched.images, search.searched.codes
    if images.labels is None:
        return
    known = np.flatnonzero(images.labels >= 0)
    if len(known) < 2 or len(np.unique(images.labels[known])) < 2:
        return
    found = nearest(codes[known], codes[known], search.request.neighbours, own_rows=np.arange(len(known)))
    contradicted = contradicted_labels(images.labels[known], found.rows, len(images.class_names))
    search.labels = contradicted._replace(rows=known[contradicted.rows])
    search.labelled_neighbours = np.full((len(images), found.rows.shape[1]), -1, np.int64)
    search.labelled_neighbours[known] = known[found.rows]


def _write(session: Session, checkpoint: LoadedCheckpoint, target: Path, search: _Search) -> dict[str, Any]:
    """Write all files of a checkpoint, and return what ``--json`` reports."""
    request, name = search.request, checkpoint.name
    rank_by = request.rank_by
    p = {
        which: p_values(search.inliers.scores[rank_by], scored.scores[rank_by], are_same=scored is search.inliers)
        for which, scored in search.sets.items()
    }
    flagged = {
        which: {score: float((values > search.limits[score]).mean()) for score, values in scored.scores.items()}
        for which, scored in search.sets.items()
    }
    ranked = ranked_table(name, search.sets, p, search.limits[rank_by], request)
    write_csv(target.with_suffix(".csv"), ranked)
    scores = scores_table(name, search.inliers, search.limits, flagged, search.found, request)
    write_csv(_companion(target, "scores", ".csv"), scores)
    parameters = _parameters(checkpoint, search)
    duplicates = duplicates_table(name, search.searched.images, search.pairs)
    write_csv(_companion(target, "duplicates", ".csv"), duplicates)
    if search.labels is not None:
        write_csv(_companion(target, "labels", ".csv"), labels_table(name, search.searched.images, search.labels))
    what = f"{checkpoint.title}: {_searched_in_words(search)}"
    known = "" if search.outliers is None else f" and {len(search.outliers.images):,} of {search.outliers.images.name}"
    if suspects := _suspects(search):
        figure = plot_suspects(*zip(*suspects, strict=True), title=f"{_suspects_in_words(search)} of {what}")
        write_png(_companion(target, "suspects", ".png"), figure, parameters)
    if search.found:
        write_png(_companion(target, "scores", ".png"), _detection_figure(checkpoint, search), parameters)
    write_png(target, plot_unusual(_unusual(search), title=f"Most unusual by each score, {what}{known}"), parameters)
    return {
        "checkpoint": str(checkpoint.path),
        "searched": search.searched.images.name,
        "n": len(search.searched.images),
        "score": rank_by,
        "threshold": search.limits[rank_by],
        "flagged": int(ranked.loc[ranked["set"] == "searched", "flagged"].sum()),
        "duplicates": len(duplicates),
        "contradicted_labels": None if search.labels is None else len(search.labels.rows),
        "scores": scores.drop(columns=["checkpoint", "definition"]).to_dict("records"),
    }


def _companion(target: Path, name: str, suffix: str) -> Path:
    return target.with_name(f"{target.stem}-{name}{suffix}")


def _parameters(checkpoint: LoadedCheckpoint, search: _Search) -> dict[str, Any]:
    known = {} if search.outliers is None else {"outliers": search.outliers.images.name}
    options = vars(search.request) | {"inliers": search.inliers.images.name} | known
    return checkpoint.parameters("outliers", search.searched.images, **options)


def _searched_in_words(search: _Search) -> str:
    images = search.searched.images
    return (
        f"{count(len(images), image_of(search.request.split) if search.is_own_inliers else 'image')} of {images.name}"
    )


def _unusual(search: _Search) -> dict[str, Any]:
    """Return the most unusual of the searched images and of known outliers by each score."""
    sets = list(search.sets.values())
    rows: dict[str, Any] = {}
    for score in search.limits:
        values = np.concatenate([scored.scores[score] for scored in sets])
        where = np.concatenate([np.full(len(scored.images), i) for i, scored in enumerate(sets)])
        index = np.concatenate([np.arange(len(scored.images)) for scored in sets])
        first = np.argsort(-values, kind="stable")[: search.request.n_shown]
        rows[score] = np.concatenate([sets[where[i]].images.take(index[i : i + 1]) for i in first])
    return rows


def _suspects_in_words(search: _Search) -> str:
    """Return what the sheet of suspects shows: only what was found."""
    n_pairs = sum(len(found.first) for _, found in search.pairs.values())
    n_labels = 0 if search.labels is None else len(search.labels.rows)
    most = search.request.n_shown
    found = [
        f"{n:,} {text}{f' (first {most})' if n > most else ''}"
        for text, n in (("near duplicates", n_pairs), ("suspect labels", n_labels))
        if n
    ]
    return " and ".join(found)


def _suspects(search: _Search) -> list[tuple[Any, str]]:
    """Return the rows of the sheet of suspects: pairs, then images with their neighbours."""
    images, n = search.searched.images, search.request.n_shown
    rows = []
    pairs = [
        (difference, first, second, others, which)
        for which, (others, found) in search.pairs.items()
        for first, second, difference in zip(*found, strict=True)
    ]
    for difference, first, second, others, which in sorted(pairs, key=lambda pair: pair[0])[:n]:
        pixels = np.concatenate([images.take(np.array([first])), others.take(np.array([second]))])
        rows.append((pixels, f"{first} = {'training ' if which == 'training' else ''}{second} ({difference:.2f})"))
    found = search.labels
    for row, other in zip(found.rows[:n], found.other[:n], strict=True) if found is not None else ():
        neighbours = search.labelled_neighbours[row]
        pixels = images.take(np.concatenate([[row], neighbours]))
        rows.append((pixels, f"{row}: {images.label_text(int(row))} among {images.class_names[int(other)]}"))
    return rows


def _detection_figure(checkpoint: LoadedCheckpoint, search: _Search) -> Any:
    assert search.outliers is not None
    n_in, n_out = len(search.inliers.images), len(search.outliers.images)
    names = f"{n_out:,} of {search.outliers.images.name} among {n_in:,} of {search.inliers.images.name}"
    title = f"{checkpoint.title}: finding {names}; grey: no network, dotted: chance"
    return plot_detection(search.found, n_out / (n_in + n_out), title=title)


def _show(progress: Progress, search: _Search) -> None:
    n_in = len(search.inliers.images)
    headings = ["score", "flagged"]
    rows = []
    for score in search.found or search.limits:
        share = float((search.searched.scores[score] > search.limits[score]).mean())
        row = [f"{score} (trivial)" if score in TRIVIAL else score, f"{100 * share:.1f} %"]
        if search.found:
            row += [f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in search.found[score]]
        rows.append(tuple(row))
    if search.found:
        headings += ["AUROC", "average precision", "FPR95"]
    title = f"{_searched_in_words(search)}; thresholds that {search.request.fpr:g} of {n_in:,} inliers exceed"
    progress.table(title, headings, rows)
    _say_flagged(progress, search)
    if search.n_of_training:
        own = f"{count(search.n_of_training, 'searched image')} of {len(search.searched.images):,}"
        progress.notice(f"{own}: training images themselves, which scores are fitted to; use --split train")
    n_pairs = {which: len(found.first) for which, (_, found) in search.pairs.items()}
    if sum(n_pairs.values()):
        where = {"searched": "among the searched images", "training": "with a training image"}
        listed = ", ".join(f"{n:,} {where[which]}" for which, n in n_pairs.items() if n)
        progress.notice(f"near duplicates: {listed}, in the table -duplicates.csv")
    if search.labels is not None and len(search.labels.rows):
        n = count(len(search.labels.rows), "image")
        progress.notice(f"{n} whose neighbours mostly have another label, in the table -labels.csv")


def _say_flagged(progress: Progress, search: _Search) -> None:
    """Say how many images exceed the threshold of the score that ranks, how many would by chance, and the first."""
    rank_by, images = search.request.rank_by, search.searched.images
    values = search.searched.scores[rank_by]
    n_flagged = int((values > search.limits[rank_by]).sum())
    if search.is_own_inliers:
        progress.notice("thresholds are set on these images themselves, so each score flags as many of them")
    expected = f"about {search.request.fpr * len(images):.0f} if all of them belong"
    first = [int(row) for row in np.argsort(-values, kind="stable")[:_N_NAMED]]
    named = ", ".join(images.origin_text(row) or str(row) for row in first)
    progress.notice(f"ranked by {rank_by}: {n_flagged:,} of {len(images):,} flagged, {expected}; first {named}")
