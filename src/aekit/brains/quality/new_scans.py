"""Whether new scans are like those that a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aekit.brains.quality.judgement import MIN_SCANS, Judgement, ScanStandard, judge_scans, read_standard
from aekit.brains.volumes.store import PreparedVolumes
from aekit.core.checkpoint import Header
from aekit.core.progress import Progress
from aekit.errors import AekitError, count

_MOSTLY = 1 / 3  # of the new scans doubtful: that is another scanner or preparation, not damage


def read_checkpoint_standard(
    path: Path, header: Header, images: dict[str, npt.NDArray[np.float16]]
) -> ScanStandard | None:
    """Return what was usual among the scans of a training; None if the checkpoint does not say.

    Raises:
        AekitError: It is damaged.
    """
    found: Any = header.result.get("quality")
    try:
        return read_standard(found, images, header.data["size"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AekitError(f"{path}: its header is damaged ({error}); train it again") from error


def judge_new_scans(standard: ScanStandard | None, volumes: PreparedVolumes, progress: Progress) -> Judgement:
    """Return which new scans are impossible or doubtful.

    They are judged by what was usual in training. If more than a third of at least twenty scans are doubtful by that,
    they come from another scanner or preparation, and are compared with each other instead; a notice says so.

    Args:
        standard: What was usual in training; None judges the impossible only.
        volumes: The new scans, none of them bad.
        progress: Receives the notice.
    """
    n = len(volumes.images)
    if standard is None:
        return judge_scans(volumes).only_impossible()
    judged = standard.judge(volumes)
    n_doubtful = sum(map(bool, judged.reasons))
    if n < MIN_SCANS or n_doubtful <= _MOSTLY * n:
        return judged
    progress.notice(
        f"{n_doubtful:,} of {count(n, 'scan')} are unlike those of the training, as from another scanner or "
        "preparation; which of them are broken is judged among themselves"
    )
    return judge_scans(volumes)
