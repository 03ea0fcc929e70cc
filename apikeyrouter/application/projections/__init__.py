"""Read models: tables that are functions of the log, one file each."""
