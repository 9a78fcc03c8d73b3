"""One module per stage, with the name of the stage; stages never import each other.

A stage module has `add_arguments(parser)` for the paths it reads and writes, and
`run(arguments, settings)`, whose settings hold the config sections of the stage.
"""
