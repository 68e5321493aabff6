"""The scans of a cohort by name: which are left out of a training, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aekit.brains.cohort.table import Cohort
from aekit.brains.figures.scans import MAX_SCANS, ScanPicture
from aekit.brains.quality.judgement import MIN_SCANS, Judgement, judge_scans
from aekit.brains.quality.suspects import Suspicion, find_suspicions
from aekit.brains.volumes.store import PreparedVolumes, take_rows
from aekit.core.progress import Progress
from aekit.errors import AekitError, count

N_NAMED = 20


@dataclass(frozen=True, eq=False)
class JudgedScans:
    """The scans of a cohort and how usual they are.

    Attributes:
        ids: participant_id of each, N of them.
        files: Name of each file.
        volumes: The scans on the grid.
        judgement: How usual each is.
        left_out: Which of them are left out, (N,).
        keep_outlying: Whether doubtful scans are kept.
        suspicions: What may be wrong with rows of the table, by the scans that are not doubtful.
    """

    ids: list[str]
    files: list[str]
    volumes: PreparedVolumes
    judgement: Judgement
    left_out: npt.NDArray[np.bool_]
    keep_outlying: bool
    suspicions: list[Suspicion] = field(default_factory=list)

    def listed(self) -> list[tuple[str, str, str]]:
        """Return the participant, file and reason of each scan that is left out, the most unusual first."""
        reasons = self.judgement.reasons
        return [(self.ids[row], self.files[row], reasons[row]) for row in self.judgement.order() if self.left_out[row]]

    def pictures(self, n: int = MAX_SCANS) -> list[ScanPicture]:
        """Return pictures of the ``n`` most unusual scans, in that order; of few scans, in the order of the table."""
        reasons, images = self.judgement.reasons, self.volumes.images
        return [
            ScanPicture(np.asarray(images[row], np.float32), self.ids[row], reasons[row])
            for row in self.judgement.order()[:n]
        ]

    def picture_title(self) -> str:
        """Return which scans are in a figure of them."""
        n = len(self.ids)
        return f"the {MAX_SCANS} most unusual of {n:,} scans" if n > MAX_SCANS else count(n, "scan")


def judge_cohort(
    cohort: Cohort, files: Sequence[str], volumes: PreparedVolumes, *, keep_outlying: bool = False
) -> JudgedScans:
    """Return the scans of a cohort and how usual they are.

    Args:
        cohort: The participants.
        files: The name of each one's file.
        volumes: Their scans on the grid, in the same order.
        keep_outlying: Leave out the impossible scans only.

    Raises:
        AekitError: All scans are impossible.
    """
    judgement = judge_scans(volumes)
    ids = [str(one) for one in cohort.table["participant_id"]]
    left_out = judgement.left_out(keep_outlying=keep_outlying)
    if len(ids) and judgement.impossible.all():
        raise AekitError(
            f"--volumes: no scan is a brain: {files[0]}: {judgement.reasons[0]}; check the voxel sizes, and that "
            "the scans are skull-stripped"
        )
    usual = np.array([row for row in range(len(ids)) if not judgement.reasons[row]], np.int64)
    suspicions = find_suspicions(cohort.subset(usual), take_rows(volumes, usual)) if len(usual) else []
    return JudgedScans(ids, list(files), volumes, judgement, left_out, keep_outlying, suspicions)


def report_scans(judged: JudgedScans, progress: Progress) -> None:
    """Give notice of each doubtful scan by name and reason, and of rows that do not go with their scans."""
    _report_doubtful(judged, progress)
    for suspicion in judged.suspicions[:N_NAMED]:
        progress.notice(f"suspected, not left out: {suspicion.text}")
    if len(judged.suspicions) > N_NAMED:
        progress.notice(f"and {len(judged.suspicions) - N_NAMED:,} more suspicions; mri-eda lists them")


def _report_doubtful(judged: JudgedScans, progress: Progress) -> None:
    judgement = judged.judgement
    n = len(judged.ids)
    if judgement.standard is None and n:
        progress.notice(
            f"{count(n, 'scan')}: with fewer than {MIN_SCANS} it is unknown what is usual; only impossible brain "
            "volumes are left out"
        )
    doubtful = [row for row in judgement.order() if judgement.reasons[row]]
    if not doubtful:
        return
    n_out = int(judged.left_out.sum())
    n_kept = len(doubtful) - n_out
    parts = [f"{n_out:,} of {count(n, 'scan')} left out as broken or unlike the others"] if n_out else []
    parts += [f"{n_kept:,} unlike the others and kept (--keep-outlying)"] if n_kept else []
    hint = "" if judged.keep_outlying else "; view them, and keep them with --keep-outlying if they are good"
    progress.notice(" and ".join(parts) + hint)
    for row in doubtful[:N_NAMED]:
        kept = "" if judged.left_out[row] else " (kept)"
        progress.notice(f"  {judged.ids[row]}: {judgement.reasons[row]}{kept}")
    if len(doubtful) > N_NAMED:
        progress.notice(f"  and {len(doubtful) - N_NAMED:,} more, see left-out.csv")
