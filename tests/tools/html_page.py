"""Pages of results, for the tests of what they show."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page as a browser takes it: tags with their attributes, text, and tables with the cells that are shown."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.text, self.open = html, [], "", []
        self.tables = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "rows": [], "titles": [], "class": dict(attrs).get("class")})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
            self.tables[-1]["titles"].append([])
        elif tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")
            self.tables[-1]["titles"][-1].append(dict(attrs).get("title"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1]["rows"][-1][-1] += data
        elif "caption" in self.open:
            self.tables[-1]["caption"] += data

    def table(self, caption):
        """Return the cells of the only table whose caption begins so."""
        (found,) = [table for table in self.tables if table["caption"].startswith(caption)]
        return found

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]
