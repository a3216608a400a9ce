"""The command line: one module per verb, imported when that verb is used."""
