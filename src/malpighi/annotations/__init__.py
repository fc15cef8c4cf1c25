"""Labels of every format behind one contract, `Annotation`; both directions of a format in one file."""
