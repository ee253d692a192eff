"""The subcommands of `manylabel data`, a file each."""
