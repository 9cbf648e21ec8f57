"""Speed of mbdl against its peers, both sides in one run; `./benchmarks/run` makes the environment and runs it."""
