"""Image sets by name or by path."""
