"""What does not belong: scores of single images, their thresholds, and how well they find known outliers."""
