"""One page of HTML in which a model runs: sliders, a map of codes, own images."""
