"""Document -> Row -> Batch: tokenizer, memory-mapped shards with a manifest, packing, loader."""
