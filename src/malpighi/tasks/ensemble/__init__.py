"""`ensemble`: several finished runs as one model, its weights and thresholds fitted on images that none of them was trained on."""
