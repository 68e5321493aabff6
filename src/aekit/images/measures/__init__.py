"""What a model makes of single images: losses, metrics, and bounds on their likelihood."""
