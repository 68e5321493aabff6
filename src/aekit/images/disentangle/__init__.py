"""How well single dimensions of codes stand for single factors of variation."""
