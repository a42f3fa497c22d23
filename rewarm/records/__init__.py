"""Semi-structured records -> text to train on: entities, their nodes and edges, clusters, documents.

The idea is that of EcomGPT-CT (Ma et al., arXiv 2312.15696): text fields of records are nodes, relations between
records are edges, and a document is a cluster of nodes that edges connect. The paper's data and code are not public,
so every detail here is ours.
"""
