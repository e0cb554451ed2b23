"""Documents from files as text, and one text layer for everything that a model is shown.  Words only: no torch."""
