"""The API's answers. Keys are a contract: they are added to, never renamed.

Each schema writes the records of `core` and describes itself in the API's document.
"""
