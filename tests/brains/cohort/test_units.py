import pytest

from aekit.brains.cohort.units import PROPORTIONS, UNKNOWN, YEARS_PER_UNIT, described_unit, match_header, stated_unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("yrs", "years"),
        ("Years", "years"),
        ("y", "years"),
        ("in decimal years", "years"),
        ("years, at scan", "years"),
        ("年", "years"),
        ("months", "months"),
        ("mo.", "months"),
        ("Monate", "months"),
        ("weeks", "weeks"),
        ("wk", "weeks"),
        ("days", "days"),
        ("d", "days"),
        ("at scan", ""),
        ("n/a", ""),
        ("", ""),
        ("z-score", UNKNOWN),
        ("bins", UNKNOWN),
        ("decades", UNKNOWN),
        ("%", UNKNOWN),
        ("m", UNKNOWN),
        ("weeks PMA", UNKNOWN),
        ("years since birth", "years"),
        ("y.o.", "years"),
        ("months or years", UNKNOWN),
        ("?", UNKNOWN),
    ],
)
def test_the_unit_of_an_age_is_understood_or_called_unknown(text, unit):
    assert stated_unit(text, "age") == unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("mL", "mL"),
        ("ml", "mL"),
        ("cm3", "mL"),
        ("cm^3", "mL"),
        ("cm³", "mL"),
        ("cc", "mL"),
        ("L", "litres"),
        ("litres", "litres"),
        ("dm^3", "litres"),
        ("mm3", "mm^3"),
        ("mm^3", "mm^3"),
        ("mm³", "mm^3"),
        ("mm**3", "mm^3"),
        ("cubic mm", "mm^3"),
        ("cubic millimetres", "mm^3"),
        ("mm cubed", "mm^3"),
        ("µL", "mm^3"),
        ("GMV", ""),
        ("%", PROPORTIONS),
        ("% of TIV", PROPORTIONS),
        ("percent", PROPORTIONS),
        ("proportion", PROPORTIONS),
        ("fraction of TIV", PROPORTIONS),
        ("/TIV", PROPORTIONS),
        ("z-score", UNKNOWN),
        ("voxels", UNKNOWN),
        ("m", UNKNOWN),
        ("10^3 mm^3", UNKNOWN),
    ],
)
def test_the_unit_of_a_volume_is_understood_or_called_unknown(text, unit):
    assert stated_unit(text, "volume") == unit


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("age", ""),
        ("Age [months]", "months"),
        ("Age\uff08months\uff09", "months"),
        ("Age at scan [days]", "days"),
        ("age_months", "months"),
        ("AgeMonths", "months"),
        ("age_in_weeks", "weeks"),
        ("age.days", "days"),
        ("Age, months", "months"),
        ("age_months_at_scan", "months"),
        ("age_at_scan_mo", "months"),
        ("age_y", "years"),
        ("ageyrs", "years"),
        ("Age (z-score)", UNKNOWN),
        ("age_months (years)", UNKNOWN),
        ("age_group", None),
        ("aged", None),
        ("age_m", None),
        ("dosage_days", None),
        ("days", None),
    ],
)
def test_the_header_of_an_age_states_its_unit(header, unit):
    assert match_header(header, {"age", "ageatscan"}, "age") == unit


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("GMV (mL)", "mL"),
        ("gmv_mm3", "mm^3"),
        ("gmv mm^3", "mm^3"),
        ("gmv_l", "litres"),
        ("gmvml", "mL"),
        ("GMV %", PROPORTIONS),
        ("GMV (%)", PROPORTIONS),
        ("GMV [fraction]", PROPORTIONS),
        ("gmvl", None),
        ("gmv_percent", None),
    ],
)
def test_the_header_of_a_volume_states_its_unit(header, unit):
    assert match_header(header, {"gmv"}, "volume") == unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Age of the participant in months", "months"),
        ("age (days) at the time of the scan", "days"),
        ("age at scan in completed years", "years"),
        ("weeks", "weeks"),
        ("age; scanned within 3 days of the visit", ""),
        ("age in years or in months", ""),
    ],
)
def test_a_sentence_names_a_unit_or_none(text, unit):
    assert described_unit(text, "age") == unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("grey matter volume in mm^3", "mm^3"),
        ("Grey matter volume (cubic millimeters)", "mm^3"),
        ("grey matter as a percentage of TIV", PROPORTIONS),
        ("fraction of the intracranial volume", PROPORTIONS),
        ("grey matter volume from normalised, bias-corrected images", ""),
    ],
)
def test_a_sentence_about_a_volume_names_its_unit_or_none(text, unit):
    assert described_unit(text, "volume") == unit


def test_units_of_age_agree_with_the_calendar():
    # The Gregorian mean year is 365.2425 days; 1,200 months and 5,218 weeks are a century.
    assert 1200 * YEARS_PER_UNIT["months"] == pytest.approx(100)
    assert 36524.25 * YEARS_PER_UNIT["days"] == pytest.approx(100, rel=1e-4)
    assert 36524.25 / 7 * YEARS_PER_UNIT["weeks"] == pytest.approx(100, rel=1e-4)
