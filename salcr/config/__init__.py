"""The configuration: its schema, how it is read, the command line, and the folders of results."""
