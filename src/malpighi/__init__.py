"""Segmentation of human tissue, from organ to cell."""
