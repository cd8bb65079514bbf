"""Images at every level, on disk. Open first: `source` (the interface), `layout` (our format), `opening` and `writing`.

`formats/` has one file a format, each ending in a `FORMAT` that `opening` lists; `jobs/` has what the commands do.
"""
