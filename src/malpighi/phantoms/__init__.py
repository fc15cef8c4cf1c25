"""Synthetic tissue with exact truth, of any size, written in constant memory."""
