"""Brain-age regression: people, their scans, networks, what they predict and what that is worth."""
