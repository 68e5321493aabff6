"""How like held-out images samples are: distances between distributions, beside those of images and trivial ones."""
