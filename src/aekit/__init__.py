"""Single-purpose commands for representation learning with autoencoders."""
