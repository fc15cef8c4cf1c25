"""`cycle --task ftu`: labelled images teach labels for the others, and those teach along, while held-out images gain."""
