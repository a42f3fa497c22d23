"""Python source -> sketch: its constants, or names, replaced by markers (CERT, arXiv 2206.06888).

Laws: a sketch of a sketch is that sketch; the sketch of a source that parses does, too; a source that has no sketch is
counted with its reason. And function -> the same with a bug (mutation): it parses, and its tree differs.
"""
