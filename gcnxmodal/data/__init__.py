"""Data sets: a loader a file, on the steps of `loader`; `load` reads them by name."""
