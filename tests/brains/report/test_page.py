import pytest

from aekit.brains.report.page import build_sections
from aekit.plotting.html import Paragraph, Picture


@pytest.fixture
def sections():
    """Return a function that returns the sections of a report by their headings."""

    def build(study, scans=None, pictures=()):
        built = build_sections(*study, scans, dict.fromkeys(pictures, b"png"), failed=[])
        return {section.heading: section.blocks for section in built}

    return build


def test_a_table_of_ages_alone_has_no_sections_on_what_it_lacks(sections, ages_study):
    assert list(sections(ages_study)) == ["Summary", "Participants", "Split", "Reading the table"]


def test_the_sections_of_a_whole_cohort_are_in_order(sections, cohort_study, make_scans):
    assert list(sections(cohort_study, make_scans(shapes=((2, 2, 2),) * 44))) == [
        "Summary", "Participants", "Volumes and proportions", "Age",
        "Female and male participants", "Sites", "Outliers", "Split", "Scans", "Reading the table",
    ]  # fmt: skip


def test_a_single_site_is_nothing_to_compare(sections, analyse_table, participants):
    alone = participants(9)[["participant_id", "age"]].assign(site="A")
    assert "Sites" not in sections(analyse_table(alone))


def test_why_outliers_were_not_searched_for_is_said_in_the_summary(sections, ages_study):
    texts = [block.text for block in sections(ages_study)["Summary"] if isinstance(block, Paragraph)]
    assert "Outliers were not searched for: the table has no tissue volumes." in texts


def test_a_figure_is_shown_in_its_section_if_it_was_drawn(sections, cohort_study):
    found = sections(cohort_study, pictures=["age.png", "correlations.png", "split.png"])
    shown = {heading: [block for block in blocks if isinstance(block, Picture)] for heading, blocks in found.items()}
    assert {heading for heading, own in shown.items() if own} == {"Participants", "Age", "Split"}
