"""``aekit sweep``: train a grid of models, some at a time, and compare them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aekit.core.durable import one_writer
from aekit.core.settings import as_text
from aekit.errors import AekitError
from aekit.images.config import VAE_ONLY, RunConfig, command_words, flat
from aekit.images.sweep.cells import expand
from aekit.terminal import options
from aekit.terminal.console import Console, GridProgress
from aekit.terminal.signals import stop_on_signals
from aekit.terminal.training_options import grid_options

if TYPE_CHECKING:
    import pandas as pd

    from aekit.images.runs import Machine
    from aekit.images.sweep.grid import Cell, GridHooks, Outcome

Train = Callable[..., "list[Outcome]"]  # takes cells, jobs and hooks
Metric = Literal["total", "elbo", "reconstruction", "kl", "mse"]
TABLE = "results.csv"
MANY_CELLS = 1000
MAX_CURVES = 120  # cells whose learning curves one figure can show

Folder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        rich_help_panel=options.OUTPUT,
        metavar="FOLDER",
        help="Where checkpoints, results.csv, results.png and curves.png go.",
        show_default="runs/<made of the options>",
    ),
]


@grid_options
def sweep(
    *,
    model: Annotated[
        str, typer.Option("--model", rich_help_panel=options.MODEL, metavar="ae|vae,...", help="What to train.")
    ] = "vae",
    given: dict[str, str | bool | None],
    data_root: options.DataRoot = None,
    best: Annotated[
        Metric | None,
        typer.Option(
            "--best",
            rich_help_panel=options.GRID,
            help="Print only the cell with the least of this on validation images (mean of seeds).",
            show_default="all cells",
        ),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", rich_help_panel=options.GRID, help="Train the best on all of train, and print that instead."
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            rich_help_panel=options.OUTPUT,
            help="Runs at a time.",
            show_default="one a core, or a GPU; with --ray as many as have room",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            rich_help_panel=options.OUTPUT,
            metavar="ADDRESS",
            help="Train on a Ray cluster: auto for the one that this machine is part of, or HOST:PORT of its head.",
            show_default="processes of this machine",
        ),
    ] = None,
    gpus_per_cell: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-cell",
            rich_help_panel=options.OUTPUT,
            metavar="X",
            help="With --ray: GPUs of each run, 0.25 to have four share one.",
            show_default="1 with --device cuda, or auto where a node has one; else 0",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=options.GRID,
            help="Print the training command of each cell instead of running it.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", rich_help_panel=options.GRID, help=f"Train more than {MANY_CELLS:,} cells.")
    ] = False,
    output: Folder = None,
    device: options.Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            rich_help_panel=options.OUTPUT,
            help="CPU threads of each run.",
            show_default="cores / jobs; with --ray 1",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train every combination of training options, several runs at a time, and compare them.

    Options of training take several values: 0.1,0.5 or, for whole numbers, ranges 2-20 or 2-30:4. Cells that are done
    are left as they are, so the same command goes on where it stopped; one that fails is recorded and does not end the
    rest. Reads images (--data). Writes the checkpoints, results.csv (a row a cell), results.png (heat maps over two
    options, curves over others, with bands over seeds) and curves.png (the learning curves of up to 120 cells). Prints
    the checkpoints' paths.

    Example: aekit sweep --model vae --beta 0.1,0.5,1,5 --latent 10,20,30 --epochs 8 --val 0.2 -o runs/grid
    """
    given = {"model": model, **given}
    console = Console(quiet=quiet, json=json)
    configs, swept = expand(given)
    _check(configs, swept, best=best, retrain=retrain, yes=yes or dry_run)
    if gpus_per_cell is not None and ray is None:
        raise typer.BadParameter("needs --ray, which hands out GPUs", param_hint="--gpus-per-cell")
    folder = _folder(output, configs, swept)
    threads = threads if ray is None or threads is not None else 1
    machine = (options.resolve_data_root(data_root), device, threads)
    if dry_run:
        for words in _commands(configs, folder, data_root, device, threads):
            typer.echo(shlex.join(words))
        return
    from aekit.images.config import run_name
    from aekit.images.runs import Machine
    from aekit.images.sweep.grid import Cell

    cells = [Cell(config, folder / f"{run_name(config)}.safetensors", _label(config, swept)) for config in configs]
    if len({cell.path for cell in cells}) < len(cells):
        raise AekitError("--data: two image sets of the same name would share files; sweep over them apart")
    train = _trainer(Machine(*machine), ray, gpus_per_cell, overwrite)
    with one_writer(folder / TABLE):
        outcomes = _run(cells, swept, train, jobs, folder, console)
        done = [outcome for outcome in outcomes if outcome.header]
        if best is not None and done:
            winner = _best(done, swept, best)
            of_seeds = ", by the mean over seeds, and of these the best seed" if "seed" in swept else ""
            what = "reconstruction + KL" if best == "elbo" else best
            console.message(f"least {what} on validation images{of_seeds}: {winner.cell.label}")
            done = [_retrain(winner.cell, train, console)] if retrain else [winner]
    for outcome in done:
        result = outcome.header.result if outcome.header else {}
        console.result(outcome.cell.path, **result["test"], parameters=result["parameters"])
    if len(failed := [outcome for outcome in outcomes if outcome.error]):
        first = f"{failed[0].cell.label}: {failed[0].error}"
        raise AekitError(f"{folder / 'results.csv'}: {len(failed)} of {len(cells)} cells failed, the first {first}")


def _check(configs: list[RunConfig], swept: list[str], *, best: Metric | None, retrain: bool, yes: bool) -> None:
    if len(configs) > MANY_CELLS and not yes:
        raise AekitError(f"sweep: this is a grid of {len(configs):,} cells; add --yes if you mean them all")
    if best is not None and any(config.data.val == 0 for config in configs):
        raise AekitError("--best: needs validation images to choose by, never the test set; add --val 0.2")
    if best == "total" and {"beta", "loss"} & set(swept):
        raise AekitError(
            "--best total: totals of different beta or loss do not compare; use elbo, reconstruction or mse"
        )
    if best is not None and best != "mse" and "loss" in swept:
        raise AekitError(f"--best {best}: likelihoods of different --loss do not compare; use mse")
    if best in ("elbo", "kl") and any(config.model.kind == "ae" for config in configs):
        raise AekitError(f"--best {best}: a plain autoencoder has no KL divergence; use reconstruction or mse")
    if retrain and best is None:
        raise typer.BadParameter("needs --best, to know which", param_hint="--retrain")


def _folder(output: Path | None, configs: list[RunConfig], swept: list[str]) -> Path:
    """Return the folder of the grid: the one asked for, or one whose name is made of what is swept."""
    if output is None:
        default = flat(RunConfig())
        parts = ["sweep", "-".join(dict.fromkeys(config.model.kind for config in configs))]
        rows = [flat(config) for config in configs]
        for field in default:
            texts = list(dict.fromkeys(as_text(row[field]) for row in rows))
            if field == "model" or texts == [as_text(default[field])]:
                continue
            few = len(",".join(texts)) <= 24
            text = ",".join(Path(t).stem if field == "data" else t for t in texts)
            key = "" if field in ("data", "arch") else field.replace("_", "")
            parts.append(f"{key}{text if few else f'{texts[0]}..{texts[-1]}x{len(texts)}'}")
        return Path("runs") / "-".join(parts)
    if output.suffix in (".csv", ".png", ".safetensors") and not output.is_dir():
        raise AekitError(f"--output {output}: a grid fills a folder; leave the {output.suffix} away")
    if output.exists() and not output.is_dir():
        raise AekitError(f"--output {output}: is a file, and a grid fills a folder; choose another name")
    return output


def _commands(
    configs: list[RunConfig], folder: Path, data_root: Path | None, device: str, threads: int | None
) -> list[list[str]]:
    """Return the words of each cell's command; run anywhere, they leave what the sweep would, and it goes on there."""
    from aekit.images.config import run_name

    where = ["--data-root", str(data_root)] if data_root else []
    where += [] if device == "auto" else ["--device", device]
    where += ["--threads", str(threads)] if threads else []
    return [
        [*command_words(config), *where, "--resume", "-o", str(folder / f"{run_name(config)}.safetensors")]
        for config in configs
    ]


def _label(config: RunConfig, swept: list[str]) -> str:
    values = flat(config)
    if config.model.kind == "ae":
        swept = [field for field in swept if field not in VAE_ONLY]
    texts = [
        as_text(values[field])
        if field in ("model", "arch", "data")
        else f"{field.replace('_', ' ')} {as_text(values[field])}"
        for field in swept
    ]
    return ", ".join(texts) or f"{config.model.kind} {config.model.arch}, latent {config.model.latent}"


def _trainer(machine: Machine, ray: str | None, gpus_per_cell: float | None, overwrite: bool) -> Train:
    """Return what trains cells: processes of this machine, or a Ray cluster."""
    if ray is None:
        from aekit.images.sweep.grid import run_grid

        return functools.partial(run_grid, machine=machine, overwrite=overwrite)
    from aekit.images.sweep.ray_grid import RayCluster, run_ray_grid

    return functools.partial(run_ray_grid, machine=machine, cluster=RayCluster(ray, gpus_per_cell), overwrite=overwrite)


def _run(
    cells: list[Cell], swept: list[str], train: Train, jobs: int | None, folder: Path, console: Console
) -> list[Outcome]:
    """Train the cells; what ended is in results.csv at any time."""
    import time

    import pandas as pd

    from aekit.core.artifacts import write_csv
    from aekit.images.sweep.grid import result_row

    ended: dict[Path, dict[str, Any]] = {}

    def table() -> pd.DataFrame:
        return pd.DataFrame([ended[cell.path] for cell in cells if cell.path in ended])

    def on_outcome(outcome: Outcome) -> None:
        ended[outcome.cell.path] = result_row(outcome, _settings(outcome.cell.config))
        progress.on_outcome(outcome)
        if not outcome.is_old:
            write_csv(folder / TABLE, table())

    started = time.monotonic()
    with ExitStack() as stack:
        stop_signal = stack.enter_context(stop_on_signals())
        progress = stack.enter_context(GridProgress(console, len(cells)))
        hooks = _hooks(progress, on_outcome, stop_signal)
        outcomes = train(cells, jobs=jobs, hooks=hooks)
    n_old, n_failed = (sum(getattr(o, what) not in ("", False) for o in outcomes) for what in ("is_old", "error"))
    n_new = len(outcomes) - n_old - n_failed
    console.message(
        f"{n_new} of {len(cells)} cells trained in {time.monotonic() - started:.1f} s"
        + (f", {n_old} were there" if n_old else "")
        + (f", {n_failed} failed" if n_failed else "")
    )
    _write_summary(outcomes, table(), swept, folder, console)
    return outcomes


def _hooks(
    progress: GridProgress, on_outcome: Callable[[Outcome], object], stop_signal: Callable[[], int | None]
) -> GridHooks:
    from aekit.images.sweep.grid import GridHooks

    return GridHooks(
        on_data=progress.on_data,
        on_progress=progress.on_progress,
        on_message=progress.on_message,
        on_outcome=on_outcome,
        stop_signal=stop_signal,
    )


def _settings(config: RunConfig) -> dict[str, Any]:
    """Return the columns of settings of a run; a plain autoencoder has no beta."""
    settings = flat(config)
    if config.model.kind == "ae":
        settings |= dict.fromkeys(VAE_ONLY)
    return settings


def _write_summary(
    outcomes: list[Outcome], table: pd.DataFrame, swept: list[str], folder: Path, console: Console
) -> None:
    import pandas as pd

    from aekit import __version__
    from aekit.core.artifacts import write_csv, write_png
    from aekit.images.sweep.figure import plot_cells, plot_sweep

    write_csv(folder / TABLE, table)
    rows = table[table["status"] == "done"]
    if rows.empty:
        return
    split = "val" if rows["val_total"].notna().all() else "test"
    what = f"{', '.join(rows['model'].unique())} on {', '.join(rows['data'].unique())}"
    parameters: dict[str, Any] = {"aekit": __version__, "command": "sweep", "swept": swept}
    parameters["cells"] = [str(path) for path in rows["path"].map(lambda path: Path(path).name)]
    over = [field for field in swept if field not in ("seed", "split_seed")]
    title = f"{what}: {split} images, {len(rows)} cell{'s' if len(rows) > 1 else ''}"
    title += f" ({len(table) - len(rows)} more failed)" if len(rows) < len(table) else ""
    title += ", mean ± standard deviation over seeds" if "seed" in swept and over else ""
    results = rows.assign(**{field: rows[field].map(_plain) for field in over})
    losses = [outcome.cell.config.model.loss for outcome in outcomes]
    loss = losses[0] if len(set(losses)) == 1 else None
    write_png(folder / "results.png", plot_sweep(results, over, split=split, loss=loss, title=title), parameters)
    shown = [outcome for outcome in outcomes if outcome.header][:MAX_CURVES]
    of_cells = what
    if len(shown) < len(rows):
        of_cells += f": the first {MAX_CURVES} of {len(rows)} cells"
        console.message(f"{folder / 'curves.png'}: shows the first {MAX_CURVES} of {len(rows)} cells")
    histories = [pd.DataFrame(outcome.header.result["history"]) for outcome in shown if outcome.header]
    labels = [outcome.cell.label for outcome in shown]
    losses = [outcome.cell.config.model.loss for outcome in shown]
    write_png(folder / "curves.png", plot_cells(histories, labels, losses=losses, title=of_cells), parameters)
    _print_table(rows, swept, split, console)


def _plain(value: Any) -> Any:
    """Return a setting as the figures take it: numbers as they are, all else as text, None as 'default'."""
    return "default" if value is None else value if isinstance(value, (int, float)) else as_text(value)


def _print_table(rows: pd.DataFrame, swept: list[str], split: str, console: Console) -> None:
    measures = [f"{split}_{name}" for name in ("total", "reconstruction", "kl", "mse")]
    columns = [column for column in measures if rows[column].notna().any()]
    if rows[f"{split}_kl"].isna().all():
        columns.remove(f"{split}_total")  # it is the reconstruction
    headings = [field.replace("_", " ") for field in swept or ["latent"]] + [c.replace("_", " ") for c in columns]
    shown = rows[[*(swept or ["latent"]), *columns, "active_units", "seconds"]]
    cells = [
        [as_text(v) if isinstance(v, (str, int)) else v for v in row]
        for row in shown.itertuples(index=False, name=None)
    ]
    console.table(f"{len(rows)} cells, {split} images", [*headings, "active", "seconds"], cells)


def _best(done: list[Outcome], swept: list[str], metric: Metric) -> Outcome:
    """Return the cell with the least of a metric on validation images.

    Settings are chosen by their mean over seeds, and of their runs the best is returned.
    """
    from aekit.images.sweep.grid import results_table

    table = results_table(done, flat)
    kl = table["val_kl"].fillna(0.0)
    values = table["val_reconstruction"] + kl if metric == "elbo" else table[f"val_{metric}"]
    settings = [field for field in swept if field != "seed"]
    means = values.groupby([table[field].astype(str) for field in settings]).transform("mean") if settings else values
    among = values[means == means.min()]
    return done[int(among.idxmin())]


def _retrain(cell: Cell, train: Train, console: Console) -> Outcome:
    """Train the settings of a cell on all of train, beside it."""
    from dataclasses import replace

    from aekit.images.config import run_name
    from aekit.images.sweep.grid import Cell

    config = replace(
        cell.config, data=replace(cell.config.data, val=0.0), train=replace(cell.config.train, keep="last")
    )
    whole = Cell(config, cell.path.with_name(f"{run_name(config)}.safetensors"), f"{cell.label}, on all of train")
    with stop_on_signals() as stop_signal, GridProgress(console, 1) as progress:
        hooks = _hooks(progress, progress.on_outcome, stop_signal)
        (outcome,) = train([whole], jobs=1, hooks=hooks)
    if outcome.error:
        raise AekitError(f"--retrain: {outcome.error}")
    return outcome
