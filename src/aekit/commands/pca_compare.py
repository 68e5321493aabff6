"""``aekit pca-compare``: autoencoders compared with exact PCA with the same number of dimensions."""

from __future__ import annotations

from aekit.images.record import read_checkpoints
from aekit.terminal import options
from aekit.terminal.console import Console
from aekit.terminal.streams import with_stdin
from aekit.terminal.study_options import Checkpoints, FigureOutput, LabelTable, OtherData, WhichSplit


def pca_compare(
    checkpoints: Checkpoints,
    split: WhichSplit = "test",
    data: OtherData = None,
    labels: LabelTable = None,
    data_root: options.DataRoot = None,
    output: FigureOutput = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Compare models with exact principal component analysis (PCA) with the same number of dimensions.

    Reads checkpoints and the images that they were trained on (others with --data). PCA is fitted once, on all training
    images of the checkpoints, and measured on the same images as the models, which reconstruct from the posterior mean.
    Writes curves of the error, its ratio to that of PCA and the explained variance against the latent dimensions
    (.png), one row per checkpoint (.csv), and the elbow of each curve by the Kneedle method (-elbow.csv). Checkpoints
    that differ only in their seed share a curve, with a 95 % band. With two latent dimensions, it also writes the codes
    coloured by class and the images decoded over their plane (-2d.png). Prints the path of the curves.

    Example: aekit sweep --model ae --latent 2-20 | aekit pca-compare - -o out/pca.png
    """
    with Console(quiet=quiet, json=json) as console:
        found = read_checkpoints(with_stdin(checkpoints), console)  # an error in them need not wait for torch
        from aekit.images.pca.study import run_pca_compare
        from aekit.images.session import open_session

        session = open_session(
            found, data=data, table=labels, data_root=data_root, device=device, threads=threads, progress=console
        )
        console.result(run_pca_compare(session, output, split=split))
