"""The only readers and writers of files, environment and databases."""
