"""Streamed prediction in constant memory: windows, canvas, read-ahead, store."""
