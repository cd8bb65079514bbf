"""pgtools: from a photograph to a verdict. Importing this package imports nothing heavy."""

__version__ = "0.1.0"
