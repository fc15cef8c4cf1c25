"""From a mask to objects: components joined across chunks, outlines, measurements."""
