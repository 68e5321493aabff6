"""The report of ``aekit mri-eda``: what the tables and figures say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aekit.brains.report.checks import Failed, Reading, space_numbers
from aekit.brains.report.figures import SPACES
from aekit.brains.report.scans import Scans, geometries
from aekit.brains.report.sexes import h1_sentences, sex_section
from aekit.brains.report.study import LABELS, Study
from aekit.brains.report.tables import (
    counts_table,
    floor_table,
    missing_table,
    other_numbers,
    outlier_reason,
    site_ages,
)
from aekit.brains.report.words import (
    N_LISTED,
    count_files,
    ends,
    first_of,
    measure_name,
    p_value,
    picture,
    signed,
)

if TYPE_CHECKING:
    import pandas as pd

    from aekit.brains.measures.cohort import SiteDifference
    from aekit.plotting.html import Block, Section


def build_sections(
    study: Study,
    reading: Reading,
    scans: Scans | None,
    pictures: Mapping[str, bytes],
    *,
    failed: Sequence[Failed],
) -> list[Section]:
    """Return the report's sections; figures are given as PNG by file name."""
    sections = [_summary(study, reading, scans, failed), _people_section(study, pictures)]
    if study.measures:
        sections += [_measures_section(study, pictures), _age_section(study, pictures)]
    if study.sexes:
        sections.append(sex_section(study, pictures))
    if study.cohort.site is not None:
        sections.append(_site_section(study, pictures))
    sections.append(_outlier_section(study, pictures))
    sections.append(_split_section(study, reading, pictures))
    if scans is not None:
        sections.append(_scan_section(scans, study, pictures))
    sections.append(_reading_section(study, reading))
    return sections


def _summary(study: Study, reading: Reading, scans: Scans | None, failed: Sequence[Failed]) -> Section:
    from aekit.plotting.html import Bullets, Fact, Facts, Paragraph, Section

    cohort, floor = study.cohort, study.floor
    age, sex = cohort.age_years[study.has_age], cohort.sex
    unknown = len(cohort) - int((sex == "F").sum()) - int((sex == "M").sum())
    sexes = f"{int((sex == 'F').sum()):,} women, {int((sex == 'M').sum()):,} men"
    spread = f"mean {age.mean():.1f}, SD {age.std(ddof=1) if len(age) > 1 else 0:.1f}"
    facts = [
        Fact("People", f"{len(cohort):,}", sexes + (f", {unknown:,} not known" if unknown else "")),
        Fact("Age (years)", f"{age.min():.1f} to {age.max():.1f}", spread),
        Fact(
            "Floor: MAE of the median age",
            f"{floor.mae_median_years.value:.2f} years",
            f"95 % interval {ends(floor.mae_median_years)}",
        ),
        Fact(
            "MAE of the mean age",
            f"{floor.mae_mean_years.value:.2f} years",
            f"95 % interval {ends(floor.mae_mean_years)}",
        ),
    ]
    if study.outliers is not None:
        n = int(study.outliers.flagged.sum())
        facts.append(Fact("Outliers", f"{n:,}", f"{100 * n / len(cohort):.1f} %, flagged and not dropped"))
    counts = [f"{int((study.split == name).sum()):,}" for name in ("train", "val", "test")]
    facts.append(
        Fact(
            "Train / validation / test",
            " / ".join(counts),
            f"people of one {reading.group} kept together" if reading.group else "stratified by age and sex",
        )
    )
    if scans is not None:
        remark = f"{len(scans.unusable):,} unusable, {len(scans.matched.without_file):,} people without one"
        facts.append(Fact("Scans", f"{len(scans.usable):,}", remark))
    blocks: list[Block] = [
        Facts(facts),
        Paragraph(
            "A model of age has learnt something only if its mean absolute error (MAE) is below the floor: "
            "the error of "
            "giving everybody the same age."
        ),
    ]
    if failed:
        blocks.append(Bullets([each.text for each in failed], are_warnings=True))
    else:
        blocks.append(Paragraph("No check failed."))
    if study.comparisons:
        blocks += [Paragraph(sentence) for sentence in h1_sentences(study.comparisons)]
    return Section("Summary", blocks)


def _people_section(study: Study, pictures: Mapping[str, bytes]) -> Section:
    from aekit.plotting.html import Section, Table

    table = counts_table(study)
    rows = [
        (_counted(variable, previous), value, n, f"{100 * share:.1f}", women, men, mean, sd)
        for variable, previous, value, n, share, women, men, mean, sd in zip(
            table["variable"],
            [None, *table["variable"][:-1]],
            table["value"],
            table["n"].tolist(),
            table["share"],
            table["n_female"].tolist(),
            table["n_male"].tolist(),
            _rounded(table["age_mean"], 1),
            _rounded(table["age_sd"], 1),
            strict=True,
        )
    ]
    caption = (
        "Ages, women below men. The closer the people lie to the two lines, the lower the floor, and the less an error "
        "of some years means."
    )
    heads = ["", "", "people", "%", "women", "men", "mean age", "SD"]
    return Section("People", [picture(pictures, "age.png", "Histogram of age", caption), Table(heads, rows, n_left=2)])


def _measures_section(study: Study, pictures: Mapping[str, bytes]) -> Section:
    from aekit.brains.measures.cohort import describe
    from aekit.plotting.html import Section, Table

    rows = []
    for kind, each in study.measures.items():
        for key, column in zip(each.keys, each.values.T, strict=True):
            found = describe(column)
            cells = (found.mean, found.sd, found.smallest, *found.percentiles, found.largest)
            digits = 0 if kind == "volumes" else 3
            rows.append((measure_name(kind, key), found.n, found.n_missing, *(f"{cell:.{digits}f}" for cell in cells)))
    heads = ["", "people", "missing", "mean", "SD", "min", "5 %", "25 %", "median", "75 %", "95 %", "max"]
    blocks: list[Block] = [
        picture(
            pictures,
            "volumes.png",
            "Distributions of the volumes",
            "Volumes in mL. The marks on the axis are the medians. Curves of one shape that only lie apart "
            "say that men's "
            "heads are larger; a second hump asks for another site, scanner or unit.",
        )
    ]
    if "proportions" in study.measures:
        caption = (
            "Each volume as a part of the three. Where the curves of women and men cover each other, "
            "the difference was head size."
        )
        blocks.append(picture(pictures, "proportions.png", "Distributions of the proportions", caption))
    blocks.append(
        Table(heads, rows, caption="Volumes in mL, proportions of the sum of the three. By sex: volumes.csv.")
    )
    return Section("Volumes and proportions", blocks)


def _age_section(study: Study, pictures: Mapping[str, bytes]) -> Section:
    from aekit.plotting.html import Section, Table

    caption = (
        "Lines are local regressions with the 95 % interval of the mean, a line a sex. A bend says "
        "that a straight line on age would miss something; a fan that opens says that the spread grows with age."
    )
    blocks: list[Block] = [picture(pictures, "volumes-age.png", "Volumes against age by sex", caption)]
    if "proportions" in study.measures:
        caption = "The same of the proportions. What is narrower around its line here tells age better."
        blocks.append(picture(pictures, "proportions-age.png", "Proportions against age by sex", caption))
    caption = (
        "Red goes up together, blue against each other. The first row is what each measure says about "
        "age by a straight line; tissues that go together say the same thing twice."
    )
    blocks.append(picture(pictures, "correlations.png", "Correlations of age and the measures", caption))
    rows = []
    for kind, found in study.correlations.items():
        for number, key in enumerate(study.measures[kind].keys, start=1):
            low, high = found.low[0, number], found.high[0, number]
            r, rho = found.pearson[0, number], found.spearman[0, number]
            rows.append(
                (
                    measure_name(kind, key),
                    int(found.n[0, number]),
                    signed(r),
                    f"{signed(low)} to {signed(high)}",
                    signed(rho),
                )
            )
    heads = ["", "people", "Pearson r with age", "95 %", "Spearman"]
    blocks.append(Table(heads, rows, caption="Correlation with age. All pairs: correlations.csv."))
    return Section("Against age", blocks)


def _rounded(values: pd.Series[float], digits: int) -> list[str]:
    return ["" if value != value else f"{value:.{digits}f}" for value in values]


def _counted(variable: str, previous: str | None) -> str:
    return "" if variable == previous else variable


def _site_section(study: Study, pictures: Mapping[str, bytes]) -> Section:
    from aekit.plotting.html import Paragraph, Section, Table

    ages = site_ages(study)
    if not study.sites:
        names = ", ".join(list(ages)[:N_LISTED]) or "none"
        return Section(
            "Sites", [Paragraph(f"There is nothing to compare (sites with people who have an age: {names}).")]
        )
    caption = (
        "Left: ages (box 25 to 75 %, line 5 to 95 %). Right: how far each site lies from the mean of all sites among "
        "people of the same age and sex, in SDs, with 95 % intervals. Where sites differ in age as well, a model can "
        "read the age off the scanner: keep sites together in one split (--group site) to see it."
    )
    keys = {name: found for name, found in study.sites.items() if name.startswith("volumes ")}
    heads = ["site", "people", "mean age", "SD"]
    rows = [
        [site, len(own), f"{own.mean():.1f}", f"{own.std(ddof=1):.1f}" if len(own) > 1 else ""]
        for site, own in ages.items()
    ]
    for name, found in keys.items():
        heads.append(f"{LABELS[name.removeprefix('volumes ')]} (mL)")
        for row in rows:
            row.append(_site_cell(found, str(row[0])))
    tests = ", ".join(
        f"{LABELS[name.removeprefix('volumes ')]} {100 * found.explained:.1f} % ({p_value(found.p_value)})"
        for name, found in keys.items()
    )
    blocks: list[Block] = [
        picture(pictures, "sites.png", "Ages and differences by site", caption),
        Table(
            heads,
            rows[:60],
            caption="Difference from the mean of all sites given age and sex, 95 % interval in brackets. "
            "Means: sites.csv.",
        ),
        Paragraph(f"Of the variance that age and sex leave, sites explain: {tests}."),
    ]
    return Section("Sites", blocks)


def _site_cell(found: SiteDifference, site: str) -> str:
    if site not in found.sites:
        return ""
    at = found.sites.index(site)
    return f"{found.difference[at]:+.0f} [{found.low[at]:+.0f}, {found.high[at]:+.0f}]"


def _outlier_section(study: Study, pictures: Mapping[str, bytes]) -> Section:
    from aekit.plotting.html import Paragraph, Section, Table

    found = study.outliers
    if found is None:
        return Section("Outliers", [Paragraph(f"None were looked for: {study.why_no_outliers}.")])
    blocks: list[Block] = [
        Paragraph(
            f"Flagged are people whose volumes lie more than {found.limits.z_limit:g} robust SDs from "
            "others of their age and "
            f"sex, or whose volumes together lie beyond a Mahalanobis distance of "
            f"{found.limits.squared_limit**0.5:.2f} "
            "(exceeded by one in a thousand usual people). Look at them; nobody is dropped."
        )
    ]
    order = found.order()
    if not order:
        return Section(
            "Outliers",
            [*blocks, Paragraph("There is none."), picture(pictures, "outliers.png", "Robust z values", "")],
        )
    ids = [str(one) for one in study.cohort.table["participant_id"]]
    age, sex = study.cohort.age_years, study.cohort.sex
    rows = [
        (
            ids[row],
            outlier_reason(study, row),
            f"{age[row]:.1f}",
            sex[row] if isinstance(sex[row], str) else "",
            *(signed(z) for z in found.z[row]),
            f"{found.squared[row] ** 0.5:.2f}",
        )
        for row in order[:N_LISTED]
    ]
    heads = ["participant", "has", "age", "sex", *(f"z {LABELS[key]}" for key in found.keys), "distance"]
    caption = (
        f"The {len(rows)} most extreme of {len(order):,}. All: outliers.csv."
        if len(order) > len(rows)
        else "All of them."
    )
    about = (
        "Grey: people within the limits (dashed). One far off is a person or a mistake; many on one "
        "side are another scanner, unit or segmentation."
    )
    blocks += [
        picture(pictures, "outliers.png", "Robust z values and Mahalanobis distances", about),
        Table(heads, rows, caption=caption, n_left=2, wrap=["has"]),
    ]
    return Section("Outliers", blocks)


def _split_section(study: Study, reading: Reading, pictures: Mapping[str, bytes]) -> Section:
    from aekit.plotting.html import Section, Table

    table = floor_table(study)
    table = table[table["fitted_on"] == "train"]
    rows = [
        (name, predictor, n, f"{value:.1f}", f"{mae:.2f}", f"{low:.2f} to {high:.2f}")
        for name, predictor, n, value, mae, low, high in zip(
            table["evaluated_on"],
            table["predictor"],
            table["n"].tolist(),
            table["age_years"],
            table["mae_years"],
            table["mae_low"],
            table["mae_high"],
            strict=True,
        )
    ]
    together = (
        f" People of one {reading.group} are in one split, which limits how alike the splits can be."
        if reading.group
        else ""
    )
    caption = (
        "Cumulated ages: the closer the curves, the more alike the splits. Written as column split of "
        "participants.tsv, "
        f"which mri-train reads with --test-split split.{together}"
    )
    blocks: list[Block] = [picture(pictures, "split.png", "Ages and sexes of the splits", caption)]
    if rows:
        heads = ["split", "predictor from train", "people", "age", "MAE (years)", "95 %"]
        blocks.append(Table(heads, rows, caption="The floor on each split.", n_left=2))
    return Section("Split", blocks)


def _scan_section(scans: Scans, study: Study, pictures: Mapping[str, bytes]) -> Section:
    from aekit.plotting.html import Bullets, Paragraph, Section, Table

    blocks: list[Block] = []
    if scans.space is not None:
        blocks.append(Paragraph(_space_sentence(scans)))
        if "brain-volume.png" in pictures:
            caption = (
                "Brain-mask volume of each scan against the table. One person far off the line has "
                "another person's scan or a bad mask; all of them off it by a factor is a unit."
            )
            blocks.append(picture(pictures, "brain-volume.png", "Brain mask against the table", caption))
    rows = geometries(scans)
    blocks.append(
        Table(
            ["size (voxels)", "spacing (mm)", "axes", "files"],
            rows[:N_LISTED],
            caption="Files that can be used. Each of them: files.csv.",
            n_left=3,
        )
    )
    if scans.unusable:
        ids = study.cohort.table["participant_id"]
        listed = [
            (ids.iloc[row], check.path.name, check.problem)
            for row, check in enumerate(scans.checks)
            if check is not None and check.problem
        ]
        blocks.append(
            Table(
                ["participant", "file", "problem"],
                listed[:N_LISTED],
                caption=first_of(listed, "Files that cannot be used"),
                n_left=3,
                wrap=["problem"],
            )
        )
    odd: dict[str, int] = {}
    for check in scans.usable:
        for warning in check.warnings:
            odd[warning] = odd.get(warning, 0) + 1
    if odd:
        most = sorted(odd.items(), key=lambda item: -item[1])[:N_LISTED]
        blocks.append(Bullets([f"{count_files(n)}: {warning}" for warning, n in most]))
    same = [
        (one, ", ".join(others))
        for one, others in zip(study.cohort.table["participant_id"], scans.same_as, strict=True)
        if others
    ]
    if same:
        blocks.append(
            Table(
                ["participant", "same scan as"],
                same[:N_LISTED],
                caption=first_of(same, "The very same scan twice"),
                n_left=2,
                wrap=["same scan as"],
            )
        )
    return Section("Scans", blocks)


def _space_sentence(scans: Scans) -> str:
    assert scans.space is not None
    what = SPACES[scans.space.space]
    text = f"{what[0].upper()}{what[1:]} ({space_numbers(scans)})."
    if scans.space.space == "normalised":
        text += " Absolute volumes cannot be read from such scans; take --target proportion."
    return text


def _reading_section(study: Study, reading: Reading) -> Section:
    from aekit.plotting.html import Bullets, Paragraph, Section, Table

    blocks: list[Block] = [
        Paragraph(
            f"{len(reading.everyone):,} people were read from {study.cohort.name}; {len(study.cohort):,} count here."
        )
    ]
    if reading.repairs:
        rows = [(each.what, each.n, ", ".join(each.examples)) for each in reading.repairs]
        blocks.append(
            Table(
                ["put right", "for example", "times"],
                _examples_left(rows),
                caption="What was put right while reading.",
                n_left=2,
                wrap=["put right", "for example"],
            )
        )
    else:
        blocks.append(Paragraph("Nothing had to be put right."))
    if len(reading.left_out):
        lines = [tuple(map(str, row)) for row in reading.left_out.head(N_LISTED).itertuples(index=False)]
        caption = first_of(reading.left_out, "Left out")
        blocks.append(
            Table(["participant", "column", "value", "reason"], lines, caption=caption, n_left=4, wrap=["reason"])
        )
    if reading.qc_notes:
        blocks.append(Bullets(reading.qc_notes))
    if reading.quality:
        quality = [(name, n, mean, signed(r)) for name, n, mean, r in reading.quality]
        blocks.append(
            Table(
                ["quality measure", "people", "mean", "r with age"],
                quality,
                caption="Quality that goes with age can be mistaken for it.",
            )
        )
    table = missing_table(study)
    gaps = table[table["n_missing"] > 0]
    if len(gaps):
        shown = [
            (name, n, f"{100 * share:.1f}")
            for name, n, share in zip(gaps["column"], gaps["n_missing"].tolist(), gaps["share_missing"], strict=True)
        ]
        blocks.append(
            Table(["column", "missing", "%"], shown[:60], caption="Missing values. All columns: missing.csv.")
        )
    else:
        blocks.append(Paragraph("No value is missing."))
    others = [(name, n, mean, sd, signed(r)) for name, n, mean, sd, r in other_numbers(study)]
    if others:
        blocks.append(
            Table(["column", "people", "mean", "SD", "r with age"], others, caption="Other columns of numbers.")
        )
    return Section("Reading the table", blocks)


def _examples_left(rows: Sequence[tuple[str, int, str]]) -> list[tuple[str, str, int]]:
    return [(what, examples, n) for what, n, examples in rows]
