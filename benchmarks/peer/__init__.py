"""What `benchmarks.peers` compares with: the same step behind servers of others, each a file that runs by itself."""
