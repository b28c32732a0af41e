"""files of any size → the answer to each item, in shards that no kill can spoil."""
