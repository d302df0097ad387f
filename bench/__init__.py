"""Every figure the README quotes, one command each: `make bench-NAME` prints a table and writes results/NAME.json."""
