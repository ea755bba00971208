"""Models and data sets that can be named in a schedule or on the command line."""
