"""The `secateur` program: its sub-commands are records that plugins, and the core itself, provide."""
