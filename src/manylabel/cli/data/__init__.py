"""The subcommands of `manylabel data`, one file for each."""
