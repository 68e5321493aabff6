"""Which images have the codes nearest to those of given images."""
