"""One module per stage, named by the stage's one word; stages never import each other.

A stage module has `add_arguments(parser)` for the paths it reads and writes, and
`run(arguments, *, <one parameter per config section that it uses>)`.
"""
