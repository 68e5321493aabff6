"""How alike the codes of several models are on the same images."""
