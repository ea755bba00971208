"""Which slices can only leave together: labels on axes, solved once (the heart of Secateur)."""
