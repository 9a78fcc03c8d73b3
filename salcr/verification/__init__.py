"""Every module compared with values of the released code."""
