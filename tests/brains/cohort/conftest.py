import pytest

from aekit.brains.cohort.table import read_cohort


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a table and reads it as a cohort."""

    def run(content, *, name="participants.tsv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_cohort(path, **options)

    return run
