"""Single cells from image-level labels: a file a stage, and the cycle that runs them."""
