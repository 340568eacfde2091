"""The functional core: no IO, no clock, no Jupyter; everything it needs is an argument."""
