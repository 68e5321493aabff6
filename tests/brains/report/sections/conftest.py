"""What a section shows, taken apart."""

import pytest

from aekit.plotting.html import Paragraph, Table


class Shown:
    """The parts of a section: its texts, and its tables as dictionaries, a row per key."""

    def __init__(self, section):
        self.texts = [block.text for block in section.blocks if isinstance(block, Paragraph) and block.text]
        self.tables = [block for block in section.blocks if isinstance(block, Table)]
        self.blocks = section.blocks

    def rows(self, number=0):
        """Return the rows of a table by their first cells, each without it."""
        return {row[0]: list(row[1:]) for row in self.tables[number].rows}


@pytest.fixture(scope="session")
def shown():
    """Return the class that takes a section apart."""
    return Shown
